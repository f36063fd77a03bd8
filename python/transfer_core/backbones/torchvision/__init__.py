"""torchvision's classification models as blocks; `torchvision_source` comes first."""
