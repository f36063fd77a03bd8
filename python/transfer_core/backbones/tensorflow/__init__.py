"""SavedModels, run by TensorFlow in a process of its own; `source` comes first."""
