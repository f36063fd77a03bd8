"""What the steps of a training are made of, beside their order."""
