"""Losses of stems in no particular order."""

import itertools

import pytest
import torch

from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.losses import (
    L1,
    SASDR,
    SISDR,
    SNR,
    MixtureInvariant,
    PermutationInvariant,
    STFTLoss,
    ThresholdedSNR,
)


def _stems(batch, count, channels=2, samples=300, dtype=torch.float64):
    return torch.randn(batch, count, channels, samples, dtype=dtype)


@pytest.mark.parametrize("loss", [L1(), SNR(), SISDR(), STFTLoss(n_fft=32)])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_best_of_all_orders_is_taken(loss, count):
    estimate, reference = _stems(2, count), _stems(2, count)
    each = loss.pairwise(estimate, reference)
    expected = []
    for item in each:
        orders = itertools.permutations(range(count))
        expected.append(min(sum(item[i, j] for j, i in enumerate(o)) / count for o in orders))
    ours = PermutationInvariant(loss, reduction="none")(estimate, reference)
    torch.testing.assert_close(ours, torch.stack(expected))


@pytest.mark.parametrize("count", [2, 4, 7])
def test_shuffling_does_not_matter(count):
    reference = _stems(3, count)
    estimate = reference + 0.1 * _stems(3, count)
    order = torch.stack([torch.randperm(count) for _ in range(3)])
    shuffled = estimate.take_along_dim(order[:, :, None, None], dim=1)
    loss = PermutationInvariant(SISDR())
    torch.testing.assert_close(loss(shuffled, reference), loss(estimate, reference))
    torch.testing.assert_close(loss(shuffled, reference), SISDR()(estimate, reference))
    assert torch.equal(loss.permutation(shuffled, reference), order.argsort(dim=-1))


def test_gradient_reaches_the_stem_that_was_chosen():
    reference = _stems(1, 3)
    estimate = (reference.flip(1) + 0.1 * _stems(1, 3)).requires_grad_()
    PermutationInvariant(L1())(estimate, reference).backward()
    torch.testing.assert_close(
        estimate.grad, (estimate - reference.flip(1)).detach().sign() / estimate.numel()
    )


def test_unequal_counts():
    reference = _stems(2, 3)
    estimate = torch.cat([_stems(2, 1), reference.flip(1), _stems(2, 1)], dim=1)
    loss = PermutationInvariant(L1())
    assert loss(estimate, reference).item() == 0
    assert loss.permutation(estimate, reference).tolist() == [[3, 2, 1]] * 2
    few = reference[:, [2, 0]]
    assert loss(few, reference).item() == 0
    assert loss.permutation(few, reference).tolist() == [[1, -1, 0]] * 2


def test_leading_dimensions_are_optional():
    reference = _stems(2, 3)
    loss = PermutationInvariant(SNR(), reduction="none")
    assert loss(reference[0], reference[0]).shape == ()
    deep = reference.unflatten(0, (2, 1))
    assert loss(deep, deep).shape == (2, 1)


def test_the_order_is_found_exactly_at_high_ratios():
    # In float32, inner products cannot tell 80 dB from 60 dB.
    reference = _stems(1, 2, 1, 20_000, torch.float32)
    noise = _stems(1, 2, 1, 20_000, torch.float32)
    estimate = reference.repeat(1, 2, 1, 1)[:, [0, 1, 0]] + torch.tensor(
        [1e-3, 1e-4, 1e-4]
    ).reshape(1, 3, 1, 1) * torch.cat([noise, noise[:, :1]], dim=1)
    assert PermutationInvariant(SISDR()).permutation(estimate, reference).tolist() == [[2, 1]]


def test_mixture_invariant_tries_everything():
    estimate, reference = _stems(3, 4), _stems(3, 2)
    loss = MixtureInvariant(SNR(), reduction="none")
    best = torch.full((3,), torch.inf, dtype=torch.float64)
    for choice in itertools.product((0, 1), repeat=4):
        member = torch.tensor(choice)
        mixes = [estimate[:, member == m].sum(dim=1) for m in (0, 1)]
        value = SNR(reduction="none")(torch.stack(mixes, dim=1), reference).mean(dim=(1, 2))
        best = torch.minimum(best, value)
    torch.testing.assert_close(loss(estimate, reference), best)


def test_mixture_invariant_finds_the_parts():
    stems = _stems(2, 5)
    mixtures = torch.stack([stems[:, [0, 3]].sum(1), stems[:, [1, 2, 4]].sum(1)], dim=1)
    loss = MixtureInvariant(ThresholdedSNR())
    assert loss(stems, mixtures).item() == pytest.approx(-30)
    assert loss.assignment(stems, mixtures).tolist() == [[0, 1, 1, 0, 1]] * 2
    three = torch.stack([stems[:, 0], stems[:, 1] + stems[:, 4], stems[:, 2:4].sum(1)], dim=1)
    assert loss.assignment(stems, three).tolist() == [[0, 1, 2, 2, 1]] * 2


@pytest.mark.parametrize("wrapper", [PermutationInvariant, MixtureInvariant])
def test_bad_input_is_refused(wrapper):
    loss = wrapper(L1())
    with pytest.raises(ShapeError, match=r"x\.unsqueeze\(-2\)"):
        loss(torch.zeros(2, 100), torch.zeros(2, 100))
    with pytest.raises(ShapeError, match="equal but for the third axis"):
        loss(torch.zeros(2, 2, 1, 100), torch.zeros(3, 2, 1, 100))
    with pytest.raises(ShapeError, match="empty"):
        loss(torch.zeros(2, 0, 1, 100), torch.zeros(2, 2, 1, 100))
    with pytest.raises(ParameterError, match="couples the batch"):
        wrapper(STFTLoss(batch_coupled=True))
    with pytest.raises(AudioError, match="estimate holds"):
        loss(torch.full((1, 2, 1, 100), torch.nan), torch.zeros(1, 2, 1, 100))


def test_losses_of_whole_sets_of_stems_are_refused():
    for wrapper in (PermutationInvariant, MixtureInvariant):
        with pytest.raises(ParameterError, match="one value for several stems"):
            wrapper(SASDR())(_stems(2, 3), _stems(2, 3))


def test_too_many_assignments_are_refused():
    with pytest.raises(ParameterError, match="at most 65536"):
        MixtureInvariant(L1())(torch.zeros(17, 1, 4), torch.zeros(2, 1, 4))
