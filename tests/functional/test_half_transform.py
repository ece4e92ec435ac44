import pytest
import torch

from sonograd.functional import _half_transform as half


@pytest.mark.parametrize("size", [2, 4, 6, 10, 998, 1000, 100_000])
@pytest.mark.parametrize("offset", [0, 1])
def test_equal_to_the_fft_of_real_numbers(size, offset):
    x = torch.randn(3 * size + offset, dtype=torch.float64)[offset:].view(3, size)
    turns = half.turns(size)
    found, expected = half.packed_spectrum(x, turns), torch.fft.rfft(x) * (4 / size)
    torch.testing.assert_close(found[:, 1:], expected[:, 1:-1], atol=1e-14, rtol=1e-12)
    ends = torch.complex(expected[:, 0].real, expected[:, -1].real)
    torch.testing.assert_close(found[:, 0], ends, atol=1e-14, rtol=1e-12)
    signal = half.signal_of_packed(found, turns)
    torch.testing.assert_close(signal, 4 * x, atol=1e-13, rtol=1e-12)
