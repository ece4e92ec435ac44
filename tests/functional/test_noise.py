import numpy as np
import pytest
import torch
from scipy import signal, stats

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError

_MASK = (1 << 64) - 1


def _mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def test_is_the_hash_it_says():
    seed = 123456789012345
    bits = [_mix((_mix(seed) + (n + 1) * 0x9E3779B97F4A7C15) & _MASK) for n in range(50)]
    first = (np.array([b >> 32 for b in bits]) + 0.5) / 2**32
    second = np.array([b & 0xFFFFFFFF for b in bits]) / 2**32
    expected = np.sqrt(-2 * np.log(first)) * np.cos(2 * np.pi * second)
    y = F.seeded_noise(torch.tensor(seed), 50, dtype=torch.float64)
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_is_white_and_gaussian():
    y = F.seeded_noise(torch.arange(4), 100_000, dtype=torch.float64)
    assert stats.kstest(y.flatten().numpy(), "norm").pvalue > 1e-3
    lags = torch.stack([(y[:, : 100_000 - k] * y[:, k:]).mean(-1) for k in range(1, 6)])
    assert lags.abs().max() < 5 / 100_000**0.5
    across = torch.corrcoef(y) - torch.eye(4)
    assert across.abs().max() < 5 / 100_000**0.5


def test_any_stretch_alone_and_any_precision():
    seed = torch.tensor([3, 4])
    whole = F.seeded_noise(seed, 1000)
    assert torch.equal(F.seeded_noise(seed, 200, start=300), whole[:, 300:500])
    double = F.seeded_noise(seed, 1000, dtype=torch.float64)
    torch.testing.assert_close(whole.double(), double, atol=2e-6, rtol=2e-6)
    assert F.seeded_noise(seed, 0).shape == (2, 0)


@pytest.mark.gpu
def test_gpu_makes_the_same_noise():
    seed = torch.arange(3)
    there = F.seeded_noise(seed.cuda(), 5000).cpu()
    torch.testing.assert_close(there, F.seeded_noise(seed, 5000), atol=2e-6, rtol=2e-6)


def test_seeds_come_from_the_generator():
    one = F.draw_seeds(3, torch.Generator().manual_seed(1))
    assert torch.equal(one, F.draw_seeds(3, torch.Generator().manual_seed(1)))
    each = F.draw_seeds(2, [torch.Generator().manual_seed(k) for k in (1, 7)])
    assert each[0] == one[0]
    assert each[1] == F.draw_seeds(1, torch.Generator().manual_seed(7))[0]
    assert F.draw_seeds(0, []).shape == (0,)


def test_flat_gains_leave_the_noise_alone():
    seed = torch.tensor([9])
    y = F.filtered_noise(seed, torch.ones(1, 1, 33).double(), 500, hop_length=50)
    torch.testing.assert_close(y, F.seeded_noise(seed, 500, dtype=torch.float64))


def test_steady_gains_are_one_filter(rng):
    """Far from the start: the taps from scipy's frequency sampling, without their delay."""
    gains = rng.random(17)
    taps = np.fft.fftshift(np.fft.irfft(gains)) * signal.windows.hann(32, sym=False)
    noise = F.seeded_noise(torch.tensor(1), 2000, dtype=torch.float64).numpy()
    expected = np.convolve(noise, taps)[16:1500]
    magnitudes = torch.from_numpy(gains).expand(30, 17)
    y = F.filtered_noise(torch.tensor(1), magnitudes, 1484, hop_length=64)
    np.testing.assert_allclose(y, expected, atol=1e-12)


@pytest.mark.parametrize("hop_length", [1, 10, 64, 300])
def test_blocks_are_the_whole(hop_length):
    seed = torch.tensor([5, 6])
    magnitudes = torch.rand(2, 6, 9, dtype=torch.float64)
    whole = F.filtered_noise(seed, magnitudes, 700, hop_length=hop_length)
    parts = [
        F.filtered_noise(seed, magnitudes, b - a, hop_length=hop_length, start=a)
        for a, b in ((0, 1), (1, 1), (1, 333), (333, 700))
    ]
    torch.testing.assert_close(torch.cat(parts, -1), whole)


def test_late_frames_need_no_early_ones():
    seed, magnitudes = torch.tensor(5), torch.rand(40, 9, dtype=torch.float64)
    whole = F.filtered_noise(seed, magnitudes, 400, hop_length=10)
    late = F.filtered_noise(seed, magnitudes[20:], 100, hop_length=10, start=300, first_frame=20)
    torch.testing.assert_close(late, whole[300:])


def test_gradients():
    magnitudes = torch.rand(2, 3, 5, dtype=torch.float64, requires_grad=True)
    seed = torch.tensor([1, 2])
    assert torch.autograd.gradcheck(
        lambda m: F.filtered_noise(seed, m, 30, hop_length=8), magnitudes
    )


def test_refuses():
    with pytest.raises(ParameterError, match=r"seed has dtype torch\.float32"):
        F.seeded_noise(torch.ones(2), 5)
    with pytest.raises(ParameterError, match="samples is -1"):
        F.seeded_noise(torch.tensor(1), -1)
    with pytest.raises(ShapeError, match=r"magnitudes has shape \(4, 1\)"):
        F.filtered_noise(torch.tensor(1), torch.ones(4, 1), 5, hop_length=4)
    with pytest.raises(ParameterError, match="hop_length is 0"):
        F.filtered_noise(torch.tensor(1), torch.ones(4, 5), 5, hop_length=0)
    with pytest.raises(ParameterError, match="1 generators were given for 2"):
        F.draw_seeds(2, [torch.Generator()])
