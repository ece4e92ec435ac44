import numpy as np
import pytest
import torch

from sonograd.errors import ParameterError
from sonograd.functional.framing import check_pad_mode, extend, frame_signal, map_frames, store

NUMPY = {"reflect": "reflect", "constant": "constant", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("samples", [1, 2, 3, 10])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 5), (25, 31), (0, 12), (-1, 4), (-2, 4)])
def test_extends_as_numpy(rng, mode, samples, before, after):
    # Of few samples, what begins behind them is made of what lies outside alone.
    x = rng.standard_normal((2, samples))
    wide = np.pad(x, ((0, 0), (max(before, 0), max(after, 0))), mode=NUMPY[mode])
    expected = wide[:, max(-before, 0) :]
    actual = extend(torch.from_numpy(x), -before, samples + after, pad_mode=mode)
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("mode", NUMPY)
@pytest.mark.parametrize("samples", [1, 5, 31, 32, 33, 500, 9000])
@pytest.mark.parametrize(("n_fft", "hop_length"), [(32, 8), (33, 50), (2048, 300)])
def test_pieces_are_the_whole(rng, mode, samples, n_fft, hop_length):
    x = torch.from_numpy(rng.standard_normal((3, 2, samples)))
    options = {"n_fft": n_fft, "hop_length": hop_length, "before": n_fft // 2, "after": n_fft // 2}
    options["pad_mode"] = mode
    weight = torch.from_numpy(rng.standard_normal((n_fft, 7)))
    pieces = map_frames(
        x,
        lambda frames, out: torch.matmul(frames, weight, out=out),
        features=7,
        dtype=x.dtype,
        **options,
    )
    np.testing.assert_allclose(pieces, frame_signal(x, **options) @ weight, atol=1e-11)


def test_mode_by_name():
    with pytest.raises(ParameterError, match="pad_mode is 'symmetric'; expected one of 'reflect'"):
        check_pad_mode("symmetric")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_values_are_stored(threads, dtype):
    values = torch.randn(5, 7, dtype=torch.complex64)
    before = torch.get_num_threads()
    memory = torch.zeros(6, 7, dtype=dtype)
    try:
        torch.set_num_threads(threads)
        assert store(values, memory[1:]).data_ptr() == memory[1:].data_ptr()
    finally:
        torch.set_num_threads(before)
    assert torch.equal(memory, torch.cat([torch.zeros(1, 7), values]).to(dtype))
