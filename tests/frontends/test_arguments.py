"""Wrong arguments are refused in one line, when a layer is built or called."""

import numpy as np
import pytest
import torch

from sonograd import frontends as fe
from sonograd.errors import ParameterError, ShapeError


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (fe.STFT, {"hop_length": 2.5}, "hop_length is 2.5; expected a whole number"),
        (fe.STFT, {"center": "no"}, "center is 'no'; expected True or False"),
        (fe.STFT, {"window": torch.ones(100)}, "window has shape .100,.; expected .2048,."),
        (fe.STFT, {"n_fft": 512.5}, "n_fft is 512.5; expected a whole number"),
        (fe.STFT, {"n_fft": "a"}, "n_fft is 'a'; expected a whole number"),
        (fe.STFT, {"n_fft": True}, "n_fft is True; expected a whole number"),
        (fe.STFT, {"freq_bins": 3.5}, "freq_bins is 3.5; expected a whole number"),
        (fe.STFT, {"trainable": "yes"}, "trainable is 'yes'; expected True or False"),
        (fe.STFT, {"sample_rate": "22050"}, "sample_rate is '22050'; expected a positive number"),
        (fe.MelSpectrogram, {"n_mels": 12.5}, "n_mels is 12.5; expected a whole number"),
        (fe.ConstantQ, {"n_bins": 84.5}, "n_bins is 84.5; expected a whole number"),
        (fe.ConstantQ, {"hop_length": 512.0}, "hop_length is 512.0; expected a whole number"),
        (fe.ConstantQ, {"fmin": "C1"}, "fmin is 'C1'; expected a positive number"),
        (fe.VariableQ, {"gamma": 1e9}, "gamma is 1000000000.0; expected 0 to 11025 Hz"),
        (fe.VariableQ, {"filter_scale": 1e-3}, "shorter than a sample"),
        (fe.InvertibleConstantQ, {"bins_per_octave": 2.5}, "bins_per_octave is 2.5; expected a w"),
        (
            fe.InvertibleConstantQ,
            {"sliced": True, "slice_length": 4096.0},
            "slice_length is 4096.0; expected a whole number",
        ),
        (fe.Chroma, {"tuning": float("nan")}, "tuning is nan; expected a finite number"),
        (fe.HarmonicPercussive, {"time_length": 2.5}, "time_length is 2.5; expected a whole"),
        (fe.LearnedFilterbank, {"taps": 2.5}, "taps is 2.5; expected a whole number"),
        (fe.GriffinLim, {"iterations": 2.5}, "iterations is 2.5; expected a whole number"),
        (fe.GriffinLim, {"seed": 1.5}, "seed is 1.5; expected a whole number"),
        (fe.PCEN, {"bands": 2.5}, "bands is 2.5; expected a whole number"),
        (fe.PCEN, {"rate": "slow"}, "rate is 'slow'; expected a finite number"),
    ],
)
def test_construction(cls, options, message):
    with pytest.raises((ParameterError, ShapeError), match=message) as caught:
        cls(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fe.STFT(n_fft=64),
        lambda: fe.InvertibleConstantQ(sample_rate=8000, fmin=200.0),
        lambda: fe.GriffinLim(n_fft=64),
        fe.PCEN,
        fe.LogCompression,
    ],
)
@pytest.mark.parametrize("value", [np.zeros((33, 4), dtype=np.float32), [0.0, 1.0]])
def test_arrays_and_lists_are_no_tensors(make, value):
    with pytest.raises(ShapeError, match=r"is a (ndarray|list); expected a tensor.*from_numpy"):
        make()(value)


def test_inverses_name_what_they_need():
    with pytest.raises(ShapeError, match="spectrum is a Tensor; expected the GaborSpectrum"):
        fe.InvertibleConstantQ().inverse(torch.zeros(3))
    with pytest.raises(ShapeError, match="spectrum is a ndarray; expected a complex tensor"):
        fe.STFT().inverse(np.zeros((1025, 3)))


@pytest.mark.parametrize(
    "make", [lambda: fe.GriffinLim(n_fft=64, iterations=1), fe.PCEN, fe.LogCompression]
)
def test_levels_are_neither_negative_nor_undefined(make):
    layer = make()
    with pytest.raises(ParameterError, match="holds 1 values that are NaN or infinite"):
        layer(torch.ones(33, 4).where(torch.arange(33)[:, None] + torch.arange(4) > 0, torch.nan))
    with pytest.raises(ParameterError, match="is as low as -1; expected magnitudes or powers"):
        layer(-torch.ones(33, 4))
    assert layer(torch.zeros(33, 4)).isfinite().all()
