"""The version of the core, which is that of the gem."""

__version__ = "0.1.0"
