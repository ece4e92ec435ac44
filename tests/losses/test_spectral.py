"""Losses of spectrograms: against their formulas, published values and plain autograd."""

import json
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

from sonograd.errors import ParameterError, ShapeError
from sonograd.losses import (
    ESR,
    SISDR,
    ChromaSTFT,
    ComplexMultiResolution,
    MelSTFT,
    MultiResolutionSTFT,
    RandomResolutionSTFT,
    SpectralMagnitude,
    STFTLoss,
    SumAndDifferenceSTFT,
)

GOLDEN = Path(__file__).parents[1] / "golden"
COUPLED = {"batch_coupled": True}


def _pair(*shape, dtype=torch.float64):
    noise, reference = torch.randn(2, *shape, dtype=dtype).unbind()
    return reference + 0.5 * noise, reference


@pytest.fixture(scope="module")
def golden():
    values = json.loads((GOLDEN / "separation.json").read_text())["values"]
    with np.load(GOLDEN / "separation_inputs.npz") as inputs:
        pair = [torch.from_numpy(inputs[name]).mT.contiguous() for name in ("est", "ref")]
    return pair, values


@pytest.mark.parametrize(
    ("name", "loss", "tolerance"),
    [
        ("auraloss_time_ESRLoss", ESR(), 1e-6),
        ("auraloss_time_ESRLoss_none", ESR(reduction="none"), 1e-6),
        ("auraloss_time_SISDRLoss", SISDR(zero_mean=True), 1e-6),
        ("auraloss_time_SISDRLoss_none", SISDR(zero_mean=True, reduction="none"), 1e-6),
        ("auraloss_STFTLoss", STFTLoss(**COUPLED), 1e-5),
        (
            "auraloss_STFTLoss_lin",
            STFTLoss(convergence=0, log_magnitude=0, magnitude=1, **COUPLED),
            1e-5,
        ),
        ("auraloss_STFTLoss_sc_only", STFTLoss(log_magnitude=0, **COUPLED), 1e-5),
        ("auraloss_STFTLoss_log_only", STFTLoss(convergence=0, **COUPLED), 1e-5),
        # Angles of bins that are nearly empty are noise, and they wrap.
        (
            "auraloss_STFTLoss_phs",
            STFTLoss(convergence=0, log_magnitude=0, phase=1, **COUPLED),
            1e-2,
        ),
        (
            "auraloss_STFTLoss_L2",
            STFTLoss(convergence=0, magnitude=1, distance="l2", **COUPLED),
            1e-4,
        ),
        (
            "auraloss_STFTLoss_win600_fft1024_hop120",
            STFTLoss(win_length=600, hop_length=120, **COUPLED),
            1e-5,
        ),
        ("auraloss_STFTLoss_sum", STFTLoss(reduction="sum", **COUPLED), 1e-5),
        ("auraloss_MultiResolutionSTFTLoss", MultiResolutionSTFT(**COUPLED), 1e-5),
        ("auraloss_MelSTFTLoss_sr8000_64", MelSTFT(sample_rate=8000, n_mels=64, **COUPLED), 1e-5),
        ("roformer_multi_stft_complex_l1_sum", ComplexMultiResolution(waveform=0), 1e-5),
    ],
)
def test_published_values(golden, name, loss, tolerance):
    pair, values = golden
    np.testing.assert_allclose(loss(*pair).numpy(), np.array(values[name]), rtol=tolerance)


def test_against_numpy():
    n_fft, hop = 64, 16
    estimate, reference = _pair(320)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)

    def magnitude(x):
        padded = np.pad(x.numpy(), n_fft // 2, mode="reflect")
        frames = np.stack([padded[s : s + n_fft] * window for s in range(0, len(x) + 1, hop)])
        return np.maximum(np.abs(np.fft.rfft(frames)), 1e-4)

    ours, theirs = magnitude(estimate), magnitude(reference)
    expected = 0.7 * np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    expected += 0.5 * np.abs(np.log(ours) - np.log(theirs)).mean()
    expected += 0.2 * np.abs(ours - theirs).mean()
    loss = STFTLoss(n_fft=n_fft, hop_length=hop, convergence=0.7, log_magnitude=0.5, magnitude=0.2)
    assert loss(estimate, reference).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize(
    "sizes", [(64, 16, 64), (64, 10, 40), (63, 7, 50), (32, 40, 31), (256, 60, 200), (4, 1, 4)]
)
@pytest.mark.parametrize("samples", [1, 7, 100, 333])
def test_closed_form_equals_autograd(sizes, samples, coupled):
    n_fft, hop_length, win_length = sizes
    loss = STFTLoss(
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        magnitude=0.3,
        batch_coupled=coupled,
    )
    # One item lies below the floor, one reference is silent.
    estimate, reference = _pair(3, 2, samples)
    estimate[0] *= 1e-7
    reference[1] = 0
    results = []
    for x_reference in (reference, reference.clone().requires_grad_()):
        x = estimate.clone().requires_grad_()
        value = loss(x, x_reference)
        value.backward()
        results.append((value.detach(), x.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-7, atol=1e-12)


def test_many_short_items_are_one_block():
    estimate, reference = _pair(300, 100)
    loss = MultiResolutionSTFT(n_ffts=(64, 32), reduction="none")
    x = estimate.clone().requires_grad_()
    weights = torch.rand(300, dtype=torch.float64)
    (loss(x, reference) * weights).sum().backward()
    one = estimate[7:8].clone().requires_grad_()
    (loss(one, reference[7:8]) * weights[7]).sum().backward()
    torch.testing.assert_close(x.grad[7:8], one.grad)


def test_no_gradient_is_no_trouble():
    pair = _pair(2, 400)
    loss = MultiResolutionSTFT(n_ffts=(64, 32))
    with torch.no_grad():
        assert not loss(*pair).requires_grad
    with torch.inference_mode():
        loss(*pair)


def test_reference_may_have_a_gradient():
    estimate, reference = _pair(2, 100)
    reference.requires_grad_()
    loss = MultiResolutionSTFT(n_ffts=(64, 32))
    assert torch.autograd.gradcheck(lambda r: loss(estimate, r), reference, fast_mode=True)


def test_default_resolutions_and_their_changes():
    published = [layer.resolution for layer in MultiResolutionSTFT().resolutions]
    assert [(r.n_fft, r.hop_length, r.win_length) for r in published] == [
        (1024, 120, 600),
        (2048, 240, 1200),
        (512, 50, 240),
    ]
    other = [layer.resolution for layer in MultiResolutionSTFT(n_ffts=(512, 256)).resolutions]
    assert [(r.n_fft, r.hop_length, r.win_length) for r in other] == [
        (512, 128, 512),
        (256, 64, 256),
    ]


def test_a_silent_item_does_not_drown_the_others():
    estimate, reference = _pair(2, 4000)
    reference[0] = 0
    values = MultiResolutionSTFT(reduction="none")(0.1 * estimate, 0.1 * reference)
    assert values[1] < 2
    assert values[0] < 300  # Coupled losses reach 40000 here.


def test_scale_invariant_ignores_the_level_of_the_reference():
    estimate, reference = _pair(2, 400)
    loss = STFTLoss(n_fft=64, scale_invariant=True, floor=1e-9)
    torch.testing.assert_close(loss(estimate, 7 * reference), loss(estimate, reference))
    assert loss(3 * reference, reference) < 1e-6


def test_phase_tells_a_shift():
    reference = torch.randn(2000, dtype=torch.float64)
    loss = STFTLoss(n_fft=256, convergence=0, log_magnitude=0, phase=1)
    assert loss(reference, reference).item() == pytest.approx(0, abs=1e-9)
    assert loss(-reference, reference).item() == pytest.approx(4, rel=1e-6)


def test_sum_and_difference():
    estimate, reference = _pair(3, 2, 400)
    loss = SumAndDifferenceSTFT(n_ffts=(64,), sum_weight=0.5, difference_weight=2.0)
    plain = MultiResolutionSTFT(n_ffts=(64,))
    total = plain(estimate.sum(1), reference.sum(1))
    side = plain(estimate[:, 0] - estimate[:, 1], reference[:, 0] - reference[:, 1])
    torch.testing.assert_close(loss(estimate, reference), 0.25 * total + side)
    torch.testing.assert_close(loss(estimate.flip(1), reference), loss(estimate, reference))
    with pytest.raises(ShapeError, match=r"expected \(\.\.\., 2, samples\)"):
        loss(estimate[:, :1], reference[:, :1])


def test_random_resolutions_are_seeded_and_resume():
    pair = _pair(2, 3000)
    settings = {"min_fft": 16, "max_fft": 512}
    loss, twin = RandomResolutionSTFT(**settings), RandomResolutionSTFT(**settings)
    torch.manual_seed(1)
    first = [loss(*pair).item() for _ in range(4)]
    torch.manual_seed(2)
    assert [twin(*pair).item() for _ in range(2)] == first[:2]
    assert len(set(first)) == 4
    resumed = RandomResolutionSTFT(**settings)
    resumed.load_state_dict(twin.state_dict())
    assert [resumed(*pair).item() for _ in range(2)] == first[2:]
    assert RandomResolutionSTFT(**settings, seed=1)(*pair).item() != first[0]
    loss.eval()
    assert loss(*pair).item() == loss(*pair).item() == first[0]
    slow = RandomResolutionSTFT(**settings, every=2)
    values = [slow(*pair).item() for _ in range(4)]
    assert values[0] == values[1] != values[2] == values[3]


def test_random_resolutions_cover_their_ranges():
    loss = RandomResolutionSTFT(count=400, min_fft=16, max_fft=128, min_hop=0.1, max_hop=0.5)
    drawn = loss.draw(0)
    assert {r.n_fft for r, _ in drawn} == {16, 32, 64, 128}
    assert {r.n_fft // r.win_length for r, _ in drawn} == {1, 2, 4}
    assert all(r.hop_length <= r.win_length for r, _ in drawn)
    assert {name for _, name in drawn} == set(loss.windows)


def test_mel_bands_are_librosas():
    loss = MelSTFT(sample_rate=16000, n_mels=40, n_fft=512)
    expected = librosa.filters.mel(sr=16000, n_fft=512, n_mels=40, dtype=np.float64)
    np.testing.assert_allclose(loss.bank.numpy(), expected, atol=1e-12)


def test_empty_mel_bands_are_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="bands are narrower than a bin"):
        loss = MelSTFT(sample_rate=48000, n_mels=128, n_fft=256)
    assert len(loss.bank) < 128
    assert torch.isfinite(loss(*_pair(2, 3000)))


def test_chroma_hears_pitch_classes_not_octaves():
    time = torch.arange(16000) / 16000
    low, high, other = (torch.sin(2 * torch.pi * f * time) for f in (220.0, 440.0, 311.1))
    loss = ChromaSTFT(sample_rate=16000, n_fft=4096)
    assert loss(high, low) < 0.5 * loss(other, low)


def test_complex_loss_is_its_definition():
    estimate, reference = _pair(2, 3000)
    expected = (estimate - reference).abs().mean()
    for length in (512, 128):
        spectra = [
            torch.stft(
                x,
                256 if length < 256 else length,
                100,
                length,
                torch.hann_window(length, dtype=x.dtype),
                return_complex=True,
            )
            for x in (estimate, reference)
        ]
        expected = expected + 0.5 * (spectra[0] - spectra[1]).abs().mean()
    loss = ComplexMultiResolution(win_lengths=(512, 128), hop_length=100, min_fft=256, spectrum=0.5)
    torch.testing.assert_close(loss(estimate, reference), expected)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_spectral_magnitude_is_the_l1_of_powers(power):
    estimate, reference = _pair(3, 500)
    magnitudes = [torch.fft.rfft(x).abs() ** power for x in (estimate, reference)]
    expected = torch.nn.functional.l1_loss(*magnitudes)
    torch.testing.assert_close(SpectralMagnitude(power)(estimate, reference), expected)


def test_spectral_magnitude_finds_a_gain_that_l1_does_not():
    from sonograd.losses import L1

    phase = torch.linspace(0, 2 * torch.pi * 300, 8000)
    dry, wet = torch.sin(phase), 0.15 * torch.cos(phase)

    def fit(loss):
        gain = torch.nn.Parameter(torch.tensor(1.0))
        optimizer = torch.optim.SGD([gain], lr=0.01)
        for _ in range(200):
            optimizer.zero_grad()
            loss(gain * dry, wet).backward()
            optimizer.step()
        return gain.item()

    assert fit(SpectralMagnitude()) == pytest.approx(0.15, abs=0.02)
    assert abs(fit(L1())) < 0.02


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: STFTLoss(n_fft=64, win_length=65), "win_length is 65"),
        (lambda: STFTLoss(hop_length=0), "hop_length is 0"),
        (lambda: STFTLoss(floor=0), "floor is 0"),
        (lambda: STFTLoss(window="hat"), "window is 'hat'"),
        (lambda: STFTLoss(convergence=-1), "weight convergence is -1"),
        (lambda: STFTLoss(phase=-1), "weight phase is -1"),
        (lambda: STFTLoss(convergence=0, log_magnitude=0), "all weights are 0"),
        (lambda: STFTLoss(distance="l3"), "distance is 'l3'"),
        (lambda: STFTLoss(batch_coupled=True, reduction="none"), "one value for the whole batch"),
        (lambda: MultiResolutionSTFT(n_ffts=()), "n_ffts is empty"),
        (lambda: MultiResolutionSTFT(hop_lengths=(1,)), "as many of each"),
        (lambda: RandomResolutionSTFT(min_fft=100), "powers of two"),
        (lambda: RandomResolutionSTFT(max_hop=1.5), "1.5 of the window"),
        (lambda: RandomResolutionSTFT(windows=()), "at least one of each"),
        (lambda: RandomResolutionSTFT(every=0), "every is 0"),
        (lambda: SumAndDifferenceSTFT(sum_weight=-1), "sum_weight is -1"),
        (lambda: ComplexMultiResolution(win_lengths=()), "win_lengths is"),
        (lambda: ComplexMultiResolution(spectrum=-1), "weights are"),
        (lambda: SpectralMagnitude(0), "power is 0"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
