"""Differentiable audio processors: exact, streaming, with values in human units."""

from sonograd.effects.base import Effect, State, Value, Values, effect_types
from sonograd.effects.learnable import Learnable
from sonograd.effects.level import Gain, LinearGain
from sonograd.params import Curve, Param

__all__ = [
    "Curve",
    "Effect",
    "Gain",
    "Learnable",
    "LinearGain",
    "Param",
    "State",
    "Value",
    "Values",
    "effect_types",
]
