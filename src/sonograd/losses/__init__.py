"""Losses: modules with ``forward(estimate, reference)``, finite on silence."""
