"""Wrong arguments are refused in one line, when a layer is built or called."""

import numpy as np
import pytest
import torch

from sonograd import frontends as fe
from sonograd.errors import ParameterError, ShapeError

_CFP = fe.CombinedFrequencyPeriodicity


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
        (fe.STFT, {"window": None}, "window is None; expected a tensor, one of bartlett"),
        (fe.STFT, {"window": ("kaiser", "b")}, "parameter of window 'kaiser' is 'b'; expected a f"),
        (
            fe.STFT,
            {"window": torch.ones(2048) * 1j},
            "window has dtype torch.complex64; expected real",
        ),
        (fe.STFT, {"window": torch.full((2048,), torch.nan)}, "window holds values that are NaN"),
        (fe.STFT, {"pad_mode": ["reflect"]}, "pad_mode is .'reflect'.; expected one of 'reflect'"),
        (fe.STFT, {"fmin": "50"}, "fmin is '50'; expected a finite number of Hz"),
        (fe.STFT, {"fmax": float("nan")}, "fmax is nan; expected a finite number of Hz"),
        (fe.MFCC, {"dct_norm": "ortho"}, "dct_norm is 'ortho'; expected True or False"),
        (fe.MFCC, {"lifter": float("inf")}, "lifter is inf; expected a finite number"),
        (fe.MFCC, {"reference": None}, "reference is None; expected a positive number"),
        (fe.MFCC, {"top_db": True}, "top_db is True; expected a finite number"),
        (fe.Chroma, {"tuning": 1e6}, "tuning is 1000000.0; expected -12 to 12"),
        (fe.HarmonicPercussive, {"margins": 2.0}, "margins is 2.0; expected two numbers"),
        (fe.LearnedFilterbank, {"filters": None}, "filters is None; expected a whole number"),
        (fe.LearnedFilterbank, {"fmax": 9000.0}, "fmax is 9000.0 Hz; expected at most half the"),
        (fe.LearnedFilterbank, {"fmin": "low"}, "fmin is 'low'; expected a finite number of Hz"),
        (_CFP, {"pad_mode": "edge"}, "pad_mode is 'edge'; expected one of 'reflect'"),
        (_CFP, {"resolution_hz": None}, "resolution_hz is None; expected a finite number"),
        (_CFP, {"n_fft": 8000.5}, "n_fft is 8000.5; expected a whole number"),
        (_CFP, {"fmin": 0.0}, "fmin is 0.0 Hz; expected more than 0"),
        (_CFP, {"fmax": "high"}, "fmax is 'high'; expected a finite number"),
        (_CFP, {"bins_per_octave": 1.5}, "bins_per_octave is 1.5; expected a whole number"),
        (_CFP, {"exponents": 0.5}, "exponents is 0.5; expected at least 2 numbers"),
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: _stft().inverse(_stft()(torch.ones(256)), 4.5), "length is 4.5; expected a whole"),
        (
            lambda: _stft().inverse(torch.nan * _stft()(torch.ones(256))),
            "spectrum holds 561 values that are NaN or infinite",
        ),
        (lambda: _gabor()[0].inverse(_gabor()[1], 2.5), "length is 2.5; expected a whole number"),
        (lambda: _decoder()(_gabor()[1], -1), "length is -1; expected at least 0"),
        (lambda: _decoder()(torch.nan * _gabor()[1]), "spectrum holds .* NaN or infinite"),
        (lambda: fe.LearnedDecoder(_stft()), "filterbank is a STFT; expected a LearnedFilterbank"),
        (lambda: _inverted(low=torch.nan), "spectrum holds .* NaN or infinite"),
        (lambda: _inverted(samples=3.5), "samples of spectrum is 3.5; expected a whole number"),
        (lambda: _layer().redundancy(1.5), "samples is 1.5; expected a whole number"),
        (lambda: _layer().magnitudes(torch.ones(3), frames=5), "spectrum is a Tensor; expected t"),
        (
            lambda: _layer(sliced=True).inverse_stream().push(_layer()(torch.ones(400))),
            "spectrum has octaves of .* expected",
        ),
        (lambda: _griffin_lim(length=1.5), "length is 1.5; expected a whole number"),
        (lambda: fe.PCEN(bands=4)(torch.ones(4, 3), start=torch.ones(3)), "start has shape .3,.; "),
        (lambda: fe.present(torch.ones(3), "power"), "of type torch.float32; expected a complex"),
        (lambda: fe.HarmonicPercussive().masks(None), "spectrum is a NoneType; expected a tensor"),
        (lambda: _CFP().parts(torch.full((400,), torch.nan)), "x holds 400 values that are NaN"),
        (lambda: fe.exportable(None), "layer is a NoneType; expected a module"),
        (lambda: fe.exportable(_CFP()), "CombinedFrequencyPeriodicity has no form as a convo"),
    ],
)
def test_calls(call, message):
    with pytest.raises((ParameterError, ShapeError), match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def _stft():
    return fe.STFT(n_fft=64)


def _gabor():
    bank = fe.LearnedFilterbank(sample_rate=8000, kind="gabor", filters=8, taps=16, hop_length=4)
    return bank, bank(torch.ones(100))


def _decoder():
    return fe.LearnedDecoder(_gabor()[0])


def _layer(**options):
    return fe.InvertibleConstantQ(sample_rate=8000, fmin=200.0, **options)


def _inverted(low=1.0, **changes):
    spectrum = _layer()(torch.ones(400))
    return _layer().inverse(spectrum._replace(low=spectrum.low * low, **changes))


def _griffin_lim(**options):
    return fe.GriffinLim(n_fft=64, iterations=1)(torch.ones(33, 4), **options)


@pytest.mark.parametrize("lead", [(), (2,), (0, 3)])
@pytest.mark.parametrize("needs_grad", [False, True])
@pytest.mark.parametrize(
    "layer",
    [
        fe.STFT(n_fft=64, trainable=True),
        fe.ConstantQ(fmin=500.0, n_bins=12, method="direct"),
        fe.ConstantQ(fmin=500.0, n_bins=24, method="octaves", pad_mode="reflect"),
        fe.LearnedFilterbank(kind="gabor", pool_length=401),
        fe.exportable(fe.MelSpectrogram(n_fft=512, n_mels=8)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_no_samples_are_no_sound(layer, lead, needs_grad):
    with torch.set_grad_enabled(needs_grad):
        result = layer(torch.zeros(*lead, 0))
    assert result.shape[:-2] == lead
    assert not result.abs().sum()


def test_layers_tell_their_shape_without_values():
    with torch.device("meta"):
        x = torch.zeros(2, 4000)
    assert fe.STFT(n_fft=64).to("meta")(x).shape == (2, 33, 251)
