"""scikit-learn's transformers, and their numbers in a saved model; `scikit_learn_source` comes first."""
