"""Complete a recipe and divide it into training phases."""
