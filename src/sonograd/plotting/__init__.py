"""Pictures of sound; needs the extra ``[plot]``."""
