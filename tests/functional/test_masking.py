import librosa
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd import functional as F
from sonograd.errors import ParameterError, ShapeError


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_soft_mask(rng, power):
    a, b = rng.random((2, 6, 7))
    actual = F.soft_mask(torch.from_numpy(a), torch.from_numpy(b), power=power)
    np.testing.assert_allclose(actual, a**power / (a**power + b**power), rtol=1e-12)


def test_soft_mask_at_the_limits():
    a = torch.tensor([0.0, 0.0, 1e-30, 3e-38, 2.0])
    b = torch.tensor([0.0, 1.0, 1e-30, 1e-38, 1.0])
    torch.testing.assert_close(F.soft_mask(a, b), torch.tensor([0.5, 0.0, 0.5, 0.9, 0.8]))
    torch.testing.assert_close(
        F.soft_mask(a, b, power=float("inf")), torch.tensor([0.5, 0.0, 0.5, 1.0, 1.0])
    )
    with pytest.raises(ParameterError, match="power is 0"):
        F.soft_mask(a, b, power=0)
    with pytest.raises(ShapeError, match="nothing is broadcast"):
        F.soft_mask(a, b[:1])


@pytest.mark.parametrize("margins", [(1.0, 1.0), (2.0, 1.0), (3.0, 5.0)])
@pytest.mark.parametrize("lengths", [(31, 31), (17, 9)])
def test_harmonic_percussive_masks_equal_librosa(rng, margins, lengths):
    magnitude = rng.random((2, 65, 80)) ** 3
    time_length, frequency_length = lengths
    expected = librosa.decompose.hpss(magnitude, kernel_size=lengths, mask=True, margin=margins)
    actual = F.harmonic_percussive_masks(
        torch.from_numpy(magnitude),
        time_length=time_length,
        frequency_length=frequency_length,
        margins=margins,
    )
    np.testing.assert_allclose(actual[0], expected[0], atol=1e-12)
    np.testing.assert_allclose(actual[1], expected[1], atol=1e-12)


def test_harmonic_percussive_errors():
    with pytest.raises(ParameterError, match=r"margins are \(0.5, 1\)"):
        F.harmonic_percussive_masks(torch.ones(9, 9), margins=(0.5, 1))
    with pytest.raises(ParameterError, match="length is 2"):
        F.harmonic_percussive_masks(torch.ones(9, 9), time_length=2)


def test_center_mask_in_closed_form():
    center, gain = torch.tensor(0.3 + 0.4j, dtype=torch.complex128), 0.5
    # A source at gains 1 and g has |L - R| / |L + R| = (1 - g) / (1 + g).
    expected = 1 - (1 - gain) / (1 + gain)
    np.testing.assert_allclose(F.center_mask(center, gain * center), expected, atol=1e-15)
    np.testing.assert_allclose(F.center_mask(gain * center, center), expected, atol=1e-15)
    squared = F.center_mask(center, gain * center, power=2.0)
    np.testing.assert_allclose(squared, 1 - (1 - expected) ** 2, atol=1e-15)


def test_what_the_center_mask_leaves_is_orthogonal(rng):
    left, right = torch.from_numpy(rng.standard_normal((2, 50)) + 1j * rng.standard_normal((2, 50)))
    mask = F.center_mask(left, right)
    center = mask * (left + right) / 2
    inner = ((left - center) * (right - center).conj()).real
    np.testing.assert_allclose(inner[mask > 0], 0, atol=1e-12)
    assert ((left * right.conj()).real[mask == 0] <= 0).all()


def test_center_mask_at_the_limits():
    left = torch.tensor([0j, 1.0, 1.0, 1e-30, 1.0])
    right = torch.tensor([0j, 0j, -1.0, 1e-30, 1j])
    torch.testing.assert_close(F.center_mask(left, right), torch.tensor([0.0, 0, 0, 1, 0]))
    with pytest.raises(ParameterError, match="power is -1"):
        F.center_mask(left, right, power=-1)


def naive_repetition(magnitude, min_distance, max_similar, threshold):
    """Frame by frame, as the paper describes it."""
    unit = magnitude / np.linalg.norm(magnitude, axis=0)
    similarity = unit.T @ unit
    background = np.empty_like(magnitude)
    frames = magnitude.shape[1]
    for i in range(frames):
        row = similarity[i].copy()
        row[i] = 2
        found = []
        for j in range(frames):
            around = row[max(0, j - min_distance + 1) : j + min_distance]
            if row[j] >= around.max() and row[j] > threshold:
                found.append(j)
        best = sorted(found, key=lambda j: -row[j])[:max_similar]
        ordered = np.sort(magnitude[:, best], axis=1)
        background[:, i] = ordered[:, (len(best) - 1) // 2]
    return np.minimum(background / magnitude, 1)


@given(
    frames=st.integers(1, 40),
    min_distance=st.integers(1, 9),
    max_similar=st.integers(1, 12),
    threshold=st.sampled_from([0.0, 0.8]),
)
def test_repetition_mask_equals_the_paper(frames, min_distance, max_similar, threshold):
    magnitude = torch.rand(6, frames, dtype=torch.float64) + 0.01
    actual = F.repetition_mask(
        magnitude,
        min_distance=min_distance,
        max_similar=max_similar,
        min_similarity=threshold,
    )
    expected = naive_repetition(magnitude.numpy(), min_distance, max_similar, threshold)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_a_loop_is_background_and_what_happens_once_is_not():
    loop = torch.rand(30, 8, dtype=torch.float64).repeat(1, 6)
    once = torch.zeros_like(loop)
    once[4, 20] = 1.0
    mask = F.repetition_mask(loop + once, min_distance=8)
    np.testing.assert_allclose((mask * (loop + once)), loop, atol=1e-12)


def test_channels_share_what_is_similar():
    magnitude = torch.rand(2, 9, 20)
    both = F.repetition_mask(magnitude, min_distance=2)
    unit = torch.nn.functional.normalize(magnitude.reshape(-1, 20), dim=0)
    alone = F.repetition_mask(magnitude[1], min_distance=2, similarity=unit.mT @ unit)
    assert torch.equal(both[1], alone)


def test_repetition_mask_of_silence_and_errors():
    magnitude = torch.rand(3, 12)
    magnitude[:, 5:] = 0
    mask = F.repetition_mask(magnitude, min_distance=2)
    assert (mask[:, 5:] == 1).all()
    assert mask.isfinite().all()
    assert F.repetition_mask(torch.zeros(3, 0), min_distance=2).shape == (3, 0)
    with pytest.raises(ParameterError, match="min_distance is 0 and max_similar 15"):
        F.repetition_mask(magnitude, min_distance=0)


def test_gradients():
    x = torch.rand(5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: F.harmonic_percussive_masks(x, time_length=3, frequency_length=3), (x,)
    )
    similarity = torch.rand(6, 6, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: F.repetition_mask(x, min_distance=2, similarity=similarity), (x,)
    )
    spectrum = torch.randn(2, 7, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: F.center_mask(z[0], z[1]), (spectrum,))
