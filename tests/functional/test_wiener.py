"""Multichannel Wiener filtering against its definition, written out bin by bin."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional import expectation_maximization, wiener


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.complex128)


def by_the_book(stems, mix, iterations, eps=1e-10):
    """One bin and frame at a time, with matrices that are inverted."""
    stems = stems.clone()
    count, channels, bins, frames = stems.shape
    noise = float(torch.tensor(eps, dtype=torch.float32).sqrt())
    for _ in range(iterations):
        power = stems.abs().square().mean(1)
        result = torch.empty_like(stems)
        for f in range(bins):
            place = [
                sum(torch.outer(stems[j, :, f, t], stems[j, :, f, t].conj()) for t in range(frames))
                / (eps + power[j, f].sum())
                for j in range(count)
            ]
            for t in range(frames):
                total = noise * torch.eye(channels, dtype=stems.dtype)
                for j in range(count):
                    total = total + power[j, f, t] * place[j]
                for j in range(count):
                    gain = power[j, f, t] * place[j] @ torch.linalg.inv(total)
                    result[j, :, f, t] = gain @ mix[:, f, t]
        stems = result
    return stems


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("iterations", [0, 1, 2])
def test_iterations_are_the_definition(channels, iterations):
    stems, mix = draw(3, channels, 2, 5), draw(channels, 2, 5, seed=1)
    actual = expectation_maximization(stems, mix, iterations=iterations)
    expected = by_the_book(stems, mix, iterations)
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-9)


def test_leading_axes_are_items():
    stems, mix = draw(2, 4, 3, 2, 6, 5), draw(2, 4, 2, 6, 5, seed=1)
    together = wiener(stems.abs(), mix)
    for i in range(2):
        for j in range(4):
            alone = wiener(stems[i, j].abs(), mix[i, j])
            torch.testing.assert_close(together[i, j], alone)


def test_first_guess_has_the_phase_of_the_mix():
    magnitudes, mix = draw(3, 2, 4, 5).abs(), draw(2, 4, 5, seed=1)
    guess = wiener(magnitudes, mix, iterations=0)
    torch.testing.assert_close(guess.abs(), magnitudes)
    torch.testing.assert_close(guess / guess.abs(), (mix / mix.abs()).expand_as(guess))
    shares = wiener(magnitudes, mix, iterations=0, softmask=True)
    torch.testing.assert_close(shares.sum(0), mix, rtol=1e-8, atol=0)
    mono = wiener(magnitudes[:, :1], mix, iterations=0)
    torch.testing.assert_close(mono.abs(), magnitudes[:, :1].expand(-1, 2, -1, -1))


@given(iterations=st.integers(0, 2), channels=st.sampled_from([1, 2]), level=st.floats(1, 1e4))
def test_with_the_rest_stems_add_up_to_the_mix(iterations, channels, level):
    magnitudes = level * draw(2, channels, 3, 8).abs()
    mix = level * draw(channels, 3, 8, seed=1)
    stems = wiener(magnitudes, mix, iterations=iterations, residual=True)
    assert stems.shape == (3, channels, 3, 8)
    torch.testing.assert_close(stems.sum(0), mix, rtol=0, atol=0.02 * level)


def test_silence_is_silent_and_has_gradients():
    magnitudes = torch.zeros(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    mix = torch.zeros(2, 3, 4, dtype=torch.complex128, requires_grad=True)
    stems = wiener(magnitudes, mix, residual=True)
    assert (stems == 0).all()
    stems.abs().square().sum().backward()
    assert magnitudes.grad.isfinite().all()
    assert mix.grad.isfinite().all()


def test_gradients():
    magnitudes = draw(2, 2, 1, 3).abs().requires_grad_()
    mix = draw(2, 1, 3, seed=1).requires_grad_()

    def function(magnitudes, mix):
        return torch.view_as_real(wiener(magnitudes, mix, iterations=1, eps=1e-4))

    assert torch.autograd.gradcheck(function, (magnitudes, mix), atol=1e-4)


def test_what_does_not_fit_is_refused():
    magnitudes, mix = torch.ones(2, 2, 3, 4), torch.ones(2, 3, 4, dtype=torch.complex64)
    with pytest.raises(ShapeError, match=r"complex \(\.\.\., channels, bins, frames\)"):
        wiener(magnitudes, mix.real)
    with pytest.raises(ShapeError, match="expected the same channels, bins and frames"):
        wiener(magnitudes[..., :3], mix)
    with pytest.raises(ParameterError, match="iterations is -1; expected at least 0"):
        wiener(magnitudes, mix, iterations=-1)
    with pytest.raises(ParameterError, match="one stem alone"):
        wiener(magnitudes[:1], mix)


def test_more_bins_than_are_worked_on_together():
    stems, mix = draw(2, 3, 2, 300, 5), draw(2, 2, 300, 5, seed=1)
    whole = expectation_maximization(stems, mix, iterations=2)
    for bins in (slice(0, 7), slice(125, 131), slice(290, 300)):
        part = expectation_maximization(stems[..., bins, :], mix[..., bins, :], iterations=2)
        torch.testing.assert_close(whole[..., bins, :], part)
