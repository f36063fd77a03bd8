"""torchvision's classification models as blocks; `source` comes first."""
