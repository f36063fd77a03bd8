"""Ours beside the peers, measured on this machine: `python -m benchmarks --help`."""
