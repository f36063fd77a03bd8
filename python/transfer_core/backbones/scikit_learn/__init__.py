"""scikit-learn's transformers, and their numbers in a saved model; `source` comes first."""
