"""Inference engines: the libraries that run a frozen network, and the choice among them."""
