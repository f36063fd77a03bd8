"""NanoDet-g with its published weights; `nanodet_source` comes first."""
