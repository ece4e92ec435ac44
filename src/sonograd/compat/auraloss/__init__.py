"""The names of auraloss 0.4 (``time``, ``freq``, ``perceptual``) on our losses.

``from sonograd.compat import auraloss`` instead of ``import auraloss``. Arguments, their order and
their defaults are those of the original, and so are the values, which couple the items of a batch
where the original does. What differs, on purpose:

* ``perceptual_weighting`` and ``FIRFilter("aw")`` apply the A-weighting of the standard exactly;
  the short filter of the original is off by more than 10 dB at both ends;
* ``FIRFilter`` returns signals as long as its input, filtered forward in time;
* ``ChromaSTFTLoss``, ``scale_invariance`` for any batch, keyword arguments of
  ``RandomResolutionSTFTLoss`` and inputs in any memory layout work;
* ``LogCoshLoss`` is finite for errors of any size;
* ``RandomResolutionSTFTLoss`` has its own ``seed`` instead of the global random numbers, and may
  draw the largest transform too;
* errors are those of :mod:`sonograd.errors`.

New code is better off with :mod:`sonograd.losses`, whose items do not influence each other.
"""

from sonograd.compat.auraloss import freq, perceptual, time

__all__ = ["freq", "perceptual", "time"]
