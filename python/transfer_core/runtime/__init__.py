"""Errors, paths, devices, progress and settings that every other room uses."""
