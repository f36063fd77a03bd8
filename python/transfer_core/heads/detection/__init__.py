"""Heads that detect objects: torchvision's detectors on a feature pyramid over the maps of a backbone."""
