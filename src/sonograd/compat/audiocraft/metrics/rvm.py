"""The module ``audiocraft.metrics.rvm``: the same names, signatures and values, no torchaudio."""

from sonograd.functional.rvm import db_to_scale, scale_to_db
from sonograd.metrics.rvm import RelativeVolumeMel

__all__ = ["RelativeVolumeMel", "db_to_scale", "scale_to_db"]
