"""The recipe: its schema, its parser and the messages of its errors."""
