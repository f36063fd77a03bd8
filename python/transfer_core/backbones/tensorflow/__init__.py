"""SavedModels, run by TensorFlow in a separate process; `tensorflow_source` comes first."""
