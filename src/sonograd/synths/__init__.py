"""Differentiable instruments."""
