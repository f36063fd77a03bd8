"""scikit-learn's transformers as backbones; `scikit_learn_source` comes first."""
