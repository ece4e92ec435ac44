"""Trainable time-frequency layers."""
