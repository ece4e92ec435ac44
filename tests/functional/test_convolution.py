import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError
from sonograd.functional.convolution import _block_length


@given(
    samples=st.integers(1, 400),
    taps=st.integers(1, 400),
    mode=st.sampled_from(["full", "same", "causal"]),
)
def test_matches_numpy(samples, taps, mode):
    generator = np.random.default_rng(samples * 1000 + taps)
    x, kernel = generator.standard_normal((2, samples)), generator.standard_normal(taps)
    full = np.stack([np.convolve(row, kernel) for row in x])
    middle = (taps - 1) // 2
    expected = {
        "full": full,
        "same": full[:, middle : middle + samples],
        "causal": full[:, :samples],
    }[mode]
    actual = F.fft_convolve(torch.from_numpy(x), torch.from_numpy(kernel), mode)
    np.testing.assert_allclose(actual, expected, atol=1e-11)


@pytest.mark.parametrize(("samples", "taps"), [(50_000, 33), (33, 50_000), (70_001, 300)])
def test_blocks_match_scipy(rng, samples, taps):
    assert _block_length(min(samples, taps), max(samples, taps)) < samples + taps - 1
    x, kernel = rng.standard_normal((3, 1, samples)), rng.standard_normal((1, 2, taps))
    actual = F.fft_convolve(torch.from_numpy(x), torch.from_numpy(kernel))
    np.testing.assert_allclose(actual, signal.fftconvolve(x, kernel, axes=-1), atol=1e-10)


def test_same_is_that_of_scipy(rng):
    x, kernel = rng.standard_normal(100), rng.standard_normal(24)
    actual = F.fft_convolve(torch.from_numpy(x), torch.from_numpy(kernel), "same")
    np.testing.assert_allclose(actual, signal.fftconvolve(x, kernel, "same"), atol=1e-12)


@given(st.integers(1, 20_000))
def test_fast_length(minimum):
    length = F.fast_length(minimum)
    assert length >= minimum
    candidates = [2**a * 3**b * 5**c for a in range(16) for b in range(10) for c in range(8)]
    assert length == min(n for n in candidates if n >= minimum)


def test_gradients():
    x = torch.randn(2, 30, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, k: F.fft_convolve(x, k, "causal"), (x, kernel))


def test_empty_and_wrong():
    assert F.fft_convolve(torch.zeros(2, 0), torch.ones(3)).shape == (2, 0)
    with pytest.raises(ShapeError, match="at least one tap"):
        F.fft_convolve(torch.ones(3), torch.ones(0))
    with pytest.raises(ParameterError, match="mode is 'valid'"):
        F.fft_convolve(torch.ones(3), torch.ones(2), "valid")


@pytest.mark.parametrize(("taps", "size"), [(1, None), (5, 4), (64, 64), (1000, 64), (300, None)])
@pytest.mark.parametrize("lead", [(2, 1), (1, 1), ()])
def test_stream_in_blocks_of_any_length_equals_whole(taps, size, lead):
    x = torch.randn(2, 3, 3000, dtype=torch.float64)
    kernel = torch.randn(*lead, taps, dtype=torch.float64)
    parts, state, begin = F.partition_kernel(kernel, size), None, 0
    outputs = []
    for block in (1, 7, 64, 0, 3, 500, 900, 1, 2000):
        y, state = F.convolve_stream(x[..., begin : begin + block], parts, state)
        outputs.append(y)
        begin += block
    expected = F.fft_convolve(x, kernel, "causal")
    torch.testing.assert_close(torch.cat(outputs, -1), expected, rtol=0, atol=1e-10)


def test_stream_has_gradients():
    x = torch.randn(40, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(9, dtype=torch.float64, requires_grad=True)

    def run(x, kernel):
        parts = F.partition_kernel(kernel, 4)
        head, state = F.convolve_stream(x[:13], parts, None)
        return torch.cat([head, F.convolve_stream(x[13:], parts, state)[0]])

    assert torch.autograd.gradcheck(run, (x, kernel), fast_mode=True)


def test_partitions_refuse():
    with pytest.raises(ParameterError, match="size is 48; expected a power of two"):
        F.partition_kernel(torch.ones(9), 48)
    with pytest.raises(ShapeError, match=r"kernel has shape \(0,\)"):
        F.partition_kernel(torch.ones(0))
