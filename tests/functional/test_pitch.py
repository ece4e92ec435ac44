import librosa
import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

RATE = 16_000


def _melody(harmonics, samples=RATE, amplitudes=None):
    """A glide over an octave with some vibrato, and its pitch at every sample."""
    time = torch.arange(samples, dtype=torch.float64) / RATE
    hz = 150 * 2 ** (time + 0.01 * (2 * torch.pi * 5 * time).sin())
    levels = torch.tensor(amplitudes or [1 / k for k in range(1, harmonics + 1)]).double()
    return F.additive(hz, levels[:, None], sample_rate=RATE), hz


def _cents(track, hz, hop_length):
    true = hz[::hop_length][: track.shape[-1]]
    return 1200 * (track[..., : len(true)] / true).log2()


@pytest.mark.parametrize(
    "amplitudes", [[1.0], [1, 0.5, 0.3, 0.2], [0, 1, 1, 1, 1, 1], [0.5, 1, 0.5, 1, 0.5, 1]]
)
def test_follows_a_glide(amplitudes):
    """Also where the fundamental is missing or an overtone is louder."""
    x, hz = _melody(len(amplitudes), amplitudes=amplitudes)
    track = F.track_pitch(x, sample_rate=RATE)
    assert track.frequency_hz.shape == (1 + RATE // 256,)
    error = _cents(track.frequency_hz, hz, 256)[2:-3].abs()
    assert error.median() < 3
    assert error.max() < 12
    assert track.periodicity[2:-3].min() > 0.9


def test_is_exact_on_a_steady_tone():
    hz = torch.full((RATE,), 233.3, dtype=torch.float64)
    x = F.additive(hz, torch.ones(5, 1, dtype=torch.float64), sample_rate=RATE)
    track = F.track_pitch(x, sample_rate=RATE, harmonics=5)
    assert (track.frequency_hz[4:-4] - 233.3).abs().max() < 1e-6
    rough = F.track_pitch(x, sample_rate=RATE, harmonics=0)
    assert (rough.frequency_hz[4:-4] - 233.3).abs().max() < 0.5


@pytest.mark.slow
def test_is_better_than_interpolated_yin(rng):
    x, hz = _melody(6)
    x = x + 0.05 * torch.from_numpy(rng.standard_normal(RATE))
    ours = _cents(F.track_pitch(x, sample_rate=RATE).frequency_hz, hz, 256)
    theirs = librosa.yin(x.numpy(), fmin=60, fmax=1200, sr=RATE, frame_length=1024, hop_length=256)
    theirs = _cents(torch.from_numpy(theirs), hz, 256)
    assert ours[3:-4].abs().mean() < theirs[3:-4].abs().mean()


def test_difference_function_is_its_definition(rng):
    frame = rng.standard_normal(90)
    d = np.array([((frame[:50] - frame[k : k + 50]) ** 2).sum() for k in range(41)])
    expected = np.concatenate([[1.0], d[1:] * np.arange(1, 41) / d[1:].cumsum()])
    actual = F.difference_function(torch.from_numpy(frame), 40)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_noise_and_silence_have_no_pitch():
    noise = F.seeded_noise(torch.tensor(3), RATE)
    assert F.track_pitch(noise, sample_rate=RATE).periodicity.median() < 0.4
    track = F.track_pitch(torch.zeros(5000), sample_rate=RATE)
    assert (track.frequency_hz == 0).all()
    assert (track.periodicity == 0).all()


def test_batches_precision_and_pieces(monkeypatch):
    x, _ = _melody(4, 4000)
    both = torch.stack([x, x.flip(-1)]).float()
    track = F.track_pitch(both, sample_rate=RATE)
    assert track.frequency_hz.dtype == torch.float32
    monkeypatch.setattr("sonograd.functional.pitch._AT_ONCE", 5000)
    for row in range(2):
        alone = F.track_pitch(both[row], sample_rate=RATE)
        torch.testing.assert_close(track.frequency_hz[row], alone.frequency_hz)
        torch.testing.assert_close(track.periodicity[row], alone.periodicity)
    assert F.track_pitch(x[:0], sample_rate=RATE).frequency_hz.shape == (0,)
    assert F.track_pitch(x[:1], sample_rate=RATE).frequency_hz.isfinite().all()


def test_gradients_reach_the_signal():
    x, _ = _melody(3, 400)
    x = (x + 0.01 * torch.randn(400, dtype=torch.float64)).requires_grad_()

    def run(x):
        return F.track_pitch(
            x, sample_rate=RATE, low_hz=100, hop_length=200, harmonics=3
        ).frequency_hz[1]

    assert torch.autograd.gradcheck(run, x, atol=2e-2, rtol=2e-2, fast_mode=True)


def test_refuses():
    x = torch.ones(1000)
    with pytest.raises(ParameterError, match=r"low_hz is 0 and high_hz 1200\.0"):
        F.track_pitch(x, sample_rate=RATE, low_hz=0)
    with pytest.raises(ParameterError, match=r"need 536. Raise one"):
        F.track_pitch(x, sample_rate=RATE, frame_length=512)
    with pytest.raises(ParameterError, match="hop_length is 0"):
        F.track_pitch(x, sample_rate=RATE, hop_length=0)
    with pytest.raises(ShapeError, match=r"dtype torch\.int64"):
        F.track_pitch(x.long(), sample_rate=RATE)
    with pytest.raises(ParameterError, match="lags is 0"):
        F.difference_function(x, 0)
