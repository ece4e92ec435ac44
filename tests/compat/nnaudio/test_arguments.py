"""Wrong arguments are refused in one line; what nnAudio takes is taken."""

import inspect

import numpy as np
import pytest

from sonograd.compat.nnaudio import features
from sonograd.compat.nnaudio.v1 import Spectrogram as First
from sonograd.errors import ParameterError


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("STFT", {"n_fft": "a"}, "n_fft is 'a'; expected a whole number"),
        ("STFT", {"win_length": float("nan")}, "win_length is nan; expected a whole number"),
        ("STFT", {"sr": None}, "sr is None; expected a positive number"),
        ("STFT", {"fmin": "low"}, "fmin is 'low'; expected a finite number"),
        ("STFT", {"pad_mode": ["reflect"]}, "pad_mode is .'reflect'.; expected one of 'reflect'"),
        ("STFT", {"freq_scale": ["log"]}, "freq_scale is .'log'.; expected"),
        ("STFT", {"output_format": "Real"}, "output_format is 'Real'; expected one of 'Magnitude'"),
        ("MelSpectrogram", {"n_fft": 2.5}, "n_fft is 2.5; expected a whole number"),
        ("MelSpectrogram", {"norm": [1, 2]}, "norm is .1, 2.; expected"),
        ("MFCC", {"n_mfcc": None}, "n_mfcc is None; expected a whole number"),
        ("MFCC", {"n_mels": "all"}, "n_mels is 'all'; expected a whole number"),
        ("MFCC", {"amin": "a"}, "amin is 'a'; expected a finite number"),
        ("Gammatonegram", {"n_bins": 2.5}, "n_bins is 2.5; expected a whole number"),
        ("CQT1992v2", {"fmin": 0}, "fmin is 0; expected a positive number of Hz"),
        ("CQT1992v2", {"fmax": 20}, "fmax is 20 Hz; expected more than fmin"),
        ("CQT1992v2", {"norm": -1}, "norm is -1; expected a positive number"),
        ("CQT1992", {"bins_per_octave": 0}, "bins_per_octave is 0; expected at least 1"),
        ("CQT2010", {"hop_length": 0}, "hop_length is 0; expected at least 1"),
        ("CQT2010v2", {"filter_scale": -1}, "filter_scale is -1; expected a positive number"),
        ("VQT", {"gamma": None}, "gamma is None; expected a finite number"),
        ("VQT", {"n_bins": None}, "n_bins is None; expected a whole number"),
        ("CFP", {"tc": 0}, "tc is 0; expected a positive number"),
        ("CFP", {"g": 0.5}, "exponents is 0.5; expected at least 2 numbers"),
        ("CQT", {"trainable": "banana"}, "trainable is 'banana'; expected True or False"),
        ("Griffin_Lim", {"n_fft": None}, "n_fft is None; expected a whole number"),
    ],
)
def test_wrong_arguments(name, options, message):
    with pytest.raises(ParameterError, match=message) as caught:
        getattr(features, name)(**options)
    assert "\n" not in str(caught.value)


def test_the_first_release_is_checked_too():
    with pytest.raises(ParameterError, match=r"hop_length is 2.5; expected a whole number"):
        First.STFT(hop_length=2.5)


def test_what_is_missing_or_too_much_is_said_by_python():
    with pytest.raises(TypeError, match="n_fft"):
        features.Griffin_Lim()
    with pytest.raises(TypeError, match="hop"):
        features.CQT(hop=512)


def test_numbers_of_numpy_and_infinite_norms_are_taken():
    layer = features.CQT1992v2(
        sr=np.int64(22050), hop_length=np.int32(256), fmin=np.float32(500), n_bins=np.int64(12)
    )
    assert layer.hop_length == 256
    features.CQT1992v2(fmin=500, n_bins=12, norm=np.inf)
    features.CQT1992v2(fmin=500, n_bins=12, norm=None)
    assert list(inspect.signature(features.CQT1992v2).parameters)[:2] == ["sr", "hop_length"]
