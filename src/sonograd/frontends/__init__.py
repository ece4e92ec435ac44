"""Trainable time-frequency layers; none is in yet, see :mod:`sonograd.functional`."""

__all__: list[str] = []
