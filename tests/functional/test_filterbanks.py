import librosa
import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError
from sonograd.functional.filterbanks import band_spans, sum_bands


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize(("fmin", "fmax"), [(0.0, None), (30.0, 8000.0)])
def test_mel_equals_librosa(scale, norm, fmin, fmax):
    ours = F.mel_filterbank(
        sample_rate=22050,
        n_fft=2048,
        n_mels=80,
        fmin=fmin,
        fmax=fmax,
        scale=scale,
        norm=norm,
        dtype=torch.float64,
    )
    theirs = librosa.filters.mel(
        sr=22050,
        n_fft=2048,
        n_mels=80,
        fmin=fmin,
        fmax=fmax,
        htk=scale == "htk",
        norm=norm if norm == "slaney" else None,
        dtype=np.float64,
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_each_slaney_filter_has_the_same_area():
    bank = F.mel_filterbank(sample_rate=8000, n_fft=65536, n_mels=20, dtype=torch.float64)
    np.testing.assert_allclose(bank.sum(-1) * (8000 / 65536), 1, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{}, {"n_chroma": 24}, {"n_chroma": 7}, {"tuning": 0.3}, {"base_c": False}, {"n_fft": 1001}],
)
def test_chroma_equals_librosa(options):
    n_fft = options.pop("n_fft", 2048)
    ours = F.chroma_filterbank(sample_rate=22050, n_fft=n_fft, dtype=torch.float64, **options)
    theirs = librosa.filters.chroma(sr=22050, n_fft=n_fft, dtype=np.float64, **options)
    np.testing.assert_allclose(ours, theirs, atol=1e-13)


def test_chroma_without_weights_of_octaves():
    ours = F.chroma_filterbank(
        sample_rate=22050, n_fft=2048, center_octave=None, dtype=torch.float64
    )
    theirs = librosa.filters.chroma(sr=22050, n_fft=2048, octwidth=None, dtype=np.float64)
    np.testing.assert_allclose(ours, theirs, atol=1e-13)


def test_spans_leave_out_zeros_only(rng):
    bank = F.mel_filterbank(sample_rate=8000, n_fft=256, n_mels=37, dtype=torch.float64)
    power = torch.from_numpy(rng.random((5, 129)))
    out = torch.empty(5, 37, dtype=torch.float64)
    sum_bands(power, bank, band_spans(bank), out)
    np.testing.assert_allclose(out, power @ bank.mT, rtol=1e-13)


def test_an_empty_filter_is_no_trouble():
    bank = torch.zeros(3, 5)
    out = sum_bands(torch.ones(2, 5), bank, band_spans(bank), torch.ones(2, 3))
    assert (out == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fmax": 5000.0}, "fmax is 5000.0 Hz; expected at most half the sample rate, 4000 Hz"),
        ({"fmin": 4000.0}, "fmin is 4000.0 Hz; expected at least 0 and below fmax"),
        ({"fmin": -1.0}, "fmin is -1.0 Hz"),
        ({"n_mels": 0}, "n_mels is 0"),
        ({"n_fft": 0}, "n_fft is 0"),
        ({"scale": "bark"}, "scale is 'bark'; expected one of 'slaney', 'htk'"),
        ({"norm": "l1"}, "norm is 'l1'"),
        ({"sample_rate": 0}, "sample_rate is 0"),
    ],
)
def test_bad_mel_arguments(options, message):
    with pytest.raises(ParameterError, match=message):
        F.mel_filterbank(**{"sample_rate": 8000, "n_fft": 256} | options)


def test_bad_chroma_arguments():
    with pytest.raises(ParameterError, match="n_chroma is 0"):
        F.chroma_filterbank(sample_rate=8000, n_fft=256, n_chroma=0)
    with pytest.raises(ParameterError, match="octave_width is 0"):
        F.chroma_filterbank(sample_rate=8000, n_fft=256, octave_width=0)
