"""A trained model: prediction, evaluation, saving and loading."""
