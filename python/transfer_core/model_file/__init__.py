"""The file of a saved model: format, header, trust and signature."""
