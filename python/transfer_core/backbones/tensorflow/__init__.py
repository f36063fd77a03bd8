"""SavedModels, run by TensorFlow in a process of its own; `tensorflow_source` comes first."""
