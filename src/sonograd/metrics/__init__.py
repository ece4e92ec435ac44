"""Metrics with state; none is in yet, see the ratios in :mod:`sonograd.functional`."""

__all__: list[str] = []
