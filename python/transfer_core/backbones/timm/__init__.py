"""timm's models, with the list of its published weights; `timm_source` comes first."""
