import pytest
import torch

from sonograd.errors import ShapeError
from sonograd.functional import time_varying_filter


@pytest.mark.parametrize("samples", [1, 31, 64, 500, 1000])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_flat_responses_change_nothing(samples, dtype):
    x = torch.randn(2, samples, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = time_varying_filter(x, torch.ones(3, 65, dtype=dtype), hop_length=32)
    torch.testing.assert_close(y, x)


def test_equal_responses_are_one_filter():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(400, dtype=torch.float64, generator=generator)
    taps = torch.randn(20, dtype=torch.float64, generator=generator)
    response = torch.fft.rfft(taps, 128).expand(50, -1)
    y = time_varying_filter(x, response, hop_length=32)
    expected = torch.nn.functional.conv1d(
        torch.nn.functional.pad(x, (19, 0))[None, None], taps.flip(0)[None, None]
    )[0, 0]
    torch.testing.assert_close(y, expected)


def test_gain_moves_from_frame_to_frame():
    gains = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)
    x = torch.ones(65, dtype=torch.float64)
    y = time_varying_filter(x, gains[:, None].expand(3, 65), hop_length=32)
    torch.testing.assert_close(y[[0, 32, 64]], gains)
    assert torch.autograd.gradcheck(
        lambda r: time_varying_filter(x, r, hop_length=32),
        (gains[:, None].expand(3, 65).clone().requires_grad_(),),
    )


def test_too_few_bins_are_refused():
    with pytest.raises(ShapeError, match="hop_length is 64"):
        time_varying_filter(torch.ones(100), torch.ones(3, 33), hop_length=64)
