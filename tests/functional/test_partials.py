import numpy as np
import pytest
import torch

from sonograd import functional as F
from sonograd.errors import ShapeError

RATE = 8000


def _expected(frequency, amplitudes, ratios, phase):
    cycles = np.cumsum(frequency) - frequency
    y = np.zeros(len(frequency))
    for a, r, p in zip(amplitudes, ratios, phase, strict=True):
        mask = np.clip((0.5 - r * frequency / RATE) / 0.025, 0, 1)
        y += mask * np.imag(a * np.exp(2j * np.pi * (p + r * cycles / RATE)))
    return y


@pytest.mark.parametrize("given", [None, "harmonic", "stretched"])
@pytest.mark.parametrize("turned", [False, True])
def test_is_the_sum_of_its_partials(rng, given, turned):
    frequency = np.linspace(150, 900, 700)
    amplitudes = rng.standard_normal(6) + (1j * rng.standard_normal(6) if turned else 0)
    phase = rng.random(6)
    k = np.arange(1, 7)
    ratios = {None: k, "harmonic": k, "stretched": k * np.sqrt(1 + 0.003 * k**2)}[given]
    y = F.additive(
        torch.from_numpy(frequency),
        torch.from_numpy(amplitudes)[:, None],
        sample_rate=RATE,
        ratios=None if given is None else torch.from_numpy(ratios)[:, None],
        phase=torch.from_numpy(phase),
    )
    np.testing.assert_allclose(y, _expected(frequency, amplitudes, ratios, phase), atol=1e-11)


def test_ratios_that_move_are_integrated():
    ratio = torch.linspace(1, 2, 500, dtype=torch.float64)
    hz = torch.full((500,), 300.0, dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    y = F.additive(hz, one, sample_rate=RATE, ratios=ratio[None])
    z = F.additive(300.0 * ratio, one, sample_rate=RATE)
    torch.testing.assert_close(y, z)


def test_partials_above_half_the_rate_are_silent():
    """Of ten harmonics of 0.15 of the rate three fit; nothing folds back."""
    hz = torch.full((RATE,), 1200.0, dtype=torch.float64)
    y = F.additive(hz, torch.ones(10, 1, dtype=torch.float64), sample_rate=RATE)
    level = torch.fft.rfft(y).abs() * 2 / RATE
    assert level[[1200, 2400, 3600]] == pytest.approx(1.0, abs=1e-9)
    level[[1200, 2400, 3600]] = 0
    assert level.max() < 1e-9


def test_a_partial_fades_in_a_glide_without_a_click():
    hz = torch.linspace(3000, 4400, RATE, dtype=torch.float64)
    y = F.additive(hz, torch.ones(1, 1, dtype=torch.float64), sample_rate=RATE)
    assert (y[hz >= 4000] == 0).all()
    inside = hz < 3790
    turns = F.running_phase(hz, sample_rate=RATE)
    torch.testing.assert_close(y[inside], (2 * torch.pi * turns[inside]).sin())
    assert y[(hz > 3990) & (hz < 4000)].abs().max() < 0.06


def test_segments_and_blocks_give_the_whole(monkeypatch):
    hz = torch.rand(2, 1000, dtype=torch.float64) * 500
    amplitudes = torch.rand(2, 4, 1000, dtype=torch.float64)
    whole = F.additive(hz, amplitudes, sample_rate=RATE, phase=0.3)
    monkeypatch.setattr("sonograd.functional.partials._AT_ONCE", 1)
    torch.testing.assert_close(F.additive(hz, amplitudes, sample_rate=RATE, phase=0.3), whole)
    first, phase = F.additive_stream(hz[:, :7], amplitudes[..., :7], sample_rate=RATE, phase=0.3)
    second, _ = F.additive_stream(hz[:, 7:], amplitudes[..., 7:], sample_rate=RATE, phase=phase)
    torch.testing.assert_close(torch.cat([first, second], -1), whole)
    assert F.additive(hz[:, :0], amplitudes[..., :0], sample_rate=RATE).shape == (2, 0)


@pytest.mark.parametrize("given", [False, True])
def test_gradients(given):
    hz = 200 + 100 * torch.rand(20, dtype=torch.float64)
    amplitudes = torch.randn(3, 20, dtype=torch.complex128)
    ratios = torch.rand(3, 1, dtype=torch.float64) + 1

    def run(hz, amplitudes, ratios):
        r = ratios if given else None
        return F.additive(hz, amplitudes, sample_rate=RATE, ratios=r)

    used = [v.requires_grad_() for v in (hz, amplitudes, ratios)[: 3 if given else 2]]
    assert torch.autograd.gradcheck(lambda *v: run(*v, *[ratios][given:]), used)


def test_stiff_strings():
    stretched = F.inharmonic_ratios(3, torch.tensor([0.0, 0.01], dtype=torch.float64))
    expected = torch.tensor([[1, 2, 3], [1.01**0.5, 2 * 1.04**0.5, 3 * 1.09**0.5]])
    torch.testing.assert_close(stretched, expected.double(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("steady", "tolerance"), [(True, 1e-9), (False, 3e-6)])
def test_an_hour_stays_in_tune(steady, tolerance):
    """Minutes of a tone in single precision; after an hour the phase is where it should be."""
    phase, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, 1)
    hz = torch.tensor([440.01]).double().expand(1000 * 60)
    for _ in range(60):
        y, phase = F.additive_stream(
            hz if steady else hz.clone(), one, sample_rate=1000, phase=phase
        )
    assert y.dtype == torch.float32
    assert abs((float(phase[0]) - float(hz[0]) * 3600 + 0.5) % 1 - 0.5) < tolerance


def test_refuses_wrong_layouts():
    hz = torch.ones(10)
    with pytest.raises(ShapeError, match=r"amplitudes has shape \(4,\).*unsqueeze"):
        F.additive(hz, torch.ones(4), sample_rate=RATE)
    with pytest.raises(ShapeError, match=r"ratios has shape \(4, 3\)"):
        F.additive(hz, torch.ones(4, 1), sample_rate=RATE, ratios=torch.ones(4, 3))
    with pytest.raises(ShapeError, match="scalar"):
        F.additive(torch.tensor(1.0), torch.ones(4, 1), sample_rate=RATE)
