"""Explanations of single predictions: one module per method, and the choice among them (`methods`)."""
