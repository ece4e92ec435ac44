"""Metrics, equal to their references."""
