"""Public functions of the package, with the fields of a recipe as keywords."""
