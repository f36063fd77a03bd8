"""Trainings that several processes share, on one machine or on a Ray cluster."""
