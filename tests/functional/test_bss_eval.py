"""BSS eval against published values, least squares by scipy, and its own laws."""

import runpy
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import linalg

from sonograd import functional as F
from sonograd.errors import AudioError, ParameterError, ShapeError
from sonograd.functional import _bss_energies, bss_filters

GOLDEN = runpy.run_path(str(Path(__file__).parents[1] / "metrics" / "golden.py"))
SEPARATION, array, separation_pair = (
    GOLDEN[name] for name in ("SEPARATION", "array", "separation_pair")
)

RATIOS = ("sdr", "isr", "sir", "sar")
TAPS = 24


@pytest.fixture
def stems(rng):
    """Estimate and reference of three stereo sources: noise and leakage."""
    reference = rng.standard_normal((3, 2, 900))
    estimate = reference + 0.3 * np.roll(reference, 1, 0) + 0.1 * rng.standard_normal((3, 2, 900))
    return torch.from_numpy(estimate), torch.from_numpy(reference)


def delayed(signals, taps=TAPS):
    """Matrix whose columns are all delays of ``(signals, samples)``."""
    columns = [linalg.toeplitz(np.pad(s, (0, taps - 1)), np.zeros(taps)) for s in signals]
    return np.concatenate(columns, axis=1)


def by_least_squares(estimate, reference, taps=TAPS):
    """The definition, one source at a time, for whole signals; ``(4, sources)``."""
    sources, _, samples = reference.shape
    everything = delayed(reference.reshape(-1, samples))
    rows = []
    for j in range(sources):
        target = np.pad(estimate[j].T, ((0, taps - 1), (0, 0)))
        image = np.pad(reference[j].T, ((0, taps - 1), (0, 0)))
        own = delayed(reference[j])
        mine = own @ linalg.lstsq(own, target, cond=1e-9)[0]
        whole = everything @ linalg.lstsq(everything, target, cond=1e-9)[0]
        pairs = [
            (image, target - image),
            (image, mine - image),
            (mine, whole - mine),
            (whole, target - whole),
        ]
        rows.append([10 * np.log10(np.sum(a**2) / np.sum(b**2)) for a, b in pairs])
    return np.array(rows).T


def compare(result, expected, tolerance):
    for name, value, limit in zip(RATIOS, expected, tolerance, strict=True):
        actual = getattr(result, name).numpy()
        np.testing.assert_allclose(actual, value, rtol=0, atol=limit, err_msg=name)


def test_whole_signal_against_least_squares(stems):
    expected = by_least_squares(*(x.numpy() for x in stems))
    result = F.bss_eval(*stems, filter_length=TAPS)
    compare(result, expected[..., None], [1e-9] * 4)
    sources = F.bss_eval(*stems, filter_length=TAPS, kind="sources")
    np.testing.assert_allclose(sources.sir, result.sir, atol=1e-9)
    assert sources.isr.isnan().all()


@pytest.mark.parametrize("kind", ["mono as stereo", "silent channel", "twice the same", "silent"])
def test_singular_cases_are_finite_and_equal_the_smallest_least_squares_solution(stems, kind):
    estimate, reference = (x.clone() for x in stems)
    if kind == "mono as stereo":
        reference[:, 1] = reference[:, 0]
    elif kind == "silent channel":
        reference[1, 1] = 0
    elif kind == "twice the same":
        reference[2] = reference[0]
    else:
        reference[2] = 0
    result = F.bss_eval(estimate, reference, filter_length=TAPS)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = by_least_squares(estimate.numpy(), reference.numpy())
    if kind == "silent":
        assert result.sdr[2].isnan().all()
        assert result.silent.tolist() == [[False], [False], [True]]
        level = 10 * torch.log10(estimate[2].square().mean())
        torch.testing.assert_close(result.residual_dbfs[2], level)
        expected[:, 2] = np.nan
    for name, value in zip(RATIOS, expected, strict=True):
        np.testing.assert_allclose(getattr(result, name)[:, 0], value, rtol=0, atol=1e-4)


def test_a_factor_is_used_in_blocks(rng, monkeypatch):
    monkeypatch.setattr(bss_filters, "_ROWS", 7)
    matrix = torch.from_numpy(np.cov(rng.standard_normal((30, 90))))
    right = torch.from_numpy(rng.standard_normal((30, 2)))
    solution = bss_filters._substitute(torch.linalg.cholesky(matrix), right)
    torch.testing.assert_close(matrix @ solution, right)


def test_quiet_sources_are_as_exact_as_loud_ones(stems):
    estimate, reference = stems
    loud = F.bss_eval(estimate, reference, filter_length=TAPS, window=300)
    for scale in (1e-6, 1e6):
        other = F.bss_eval(scale * estimate, scale * reference, filter_length=TAPS, window=300)
        compare(other, [getattr(loud, name) for name in RATIOS], [1e-8] * 4)
    uneven = torch.tensor([1.0, 1e-6, 1e3])[:, None, None].double()
    mixed = F.bss_eval(uneven * estimate, uneven * reference, filter_length=TAPS)
    alone = F.bss_eval(estimate, reference, filter_length=TAPS)
    np.testing.assert_allclose(mixed.isr, alone.isr, atol=1e-7)
    np.testing.assert_allclose(mixed.sar[2], alone.sar[2], atol=1e-4)


@pytest.mark.parametrize("version", ["v4", "v3"])
def test_frames(stems, version):
    estimate, reference = stems
    result = F.bss_eval(
        estimate, reference, window=400, hop=150, version=version, filter_length=TAPS
    )
    assert result.sdr.shape == (3, 4)
    for t in range(4):
        part = slice(150 * t, 150 * t + 400)
        alone = F.bss_eval(estimate[..., part], reference[..., part], filter_length=TAPS)
        np.testing.assert_allclose(result.sdr[:, t], alone.sdr[:, 0], atol=1e-9)
        if version == "v3":
            np.testing.assert_allclose(result.sar[:, t], alone.sar[:, 0], atol=1e-9)
    fast = F.framewise_sdr(estimate, reference, window=400, hop=150)
    np.testing.assert_allclose(fast, result.sdr, rtol=0, atol=1e-12)
    # A window that is longer than the signal is the whole signal.
    assert F.bss_eval(estimate, reference, window=10_000, filter_length=2).sdr.shape == (3, 1)
    assert F.framewise_sdr(estimate, reference, window=100, hop=300).shape == (3, 3)


@pytest.mark.parametrize("version", ["v4", "v3"])
def test_long_frames_are_filtered_in_segments(stems, monkeypatch, version):
    options = {"window": 500, "hop": 130, "version": version, "filter_length": TAPS}
    whole = F.bss_eval(*stems, **options)
    monkeypatch.setattr(_bss_energies, "_LONGEST", 10)
    monkeypatch.setattr(_bss_energies, "_SEGMENT", 70)
    compare(F.bss_eval(*stems, **options), [getattr(whole, name) for name in RATIOS], [1e-9] * 4)


@pytest.mark.parametrize("version", ["v4", "v3"])
@pytest.mark.parametrize("size", [1, 37, 450, 5000])
def test_blocks_equal_the_whole(stems, version, size):
    options = {"window": 300, "hop": 200, "version": version, "filter_length": 4}
    whole = F.bss_eval(*stems, **options)

    def blocks():
        return zip(*(x.split(size, -1) for x in stems), strict=True)

    streamed = F.bss_eval_blocks(blocks, **options)
    compare(streamed, [getattr(whole, name) for name in RATIOS], [1e-9] * 4)
    sdr = F.framewise_sdr_blocks(blocks, window=300, hop=200)
    np.testing.assert_allclose(sdr, whole.sdr, atol=1e-12)


def test_long_signals_are_correlated_in_blocks(rng, monkeypatch):
    monkeypatch.setattr(bss_filters, "_BLOCKS", 2)
    signals = rng.standard_normal((3, 60_000))
    correlator = bss_filters.Correlator(2, 3, 40, torch.device("cpu"))
    for part in torch.from_numpy(signals).split(17_001, -1):
        correlator.feed(part)
    actual = correlator.finish().numpy()
    for a, b, k in ((0, 0, 0), (0, 2, 39), (1, 2, -39), (1, 0, 7)):
        x, y = signals[a], signals[b]
        direct = x[: 60_000 - k] @ y[k:] if k >= 0 else x[-k:] @ y[: 60_000 + k]
        np.testing.assert_allclose(actual[a, b, 39 + k], direct, atol=1e-9)


def test_the_order_of_estimates_is_found(stems):
    estimate, reference = stems
    order = [2, 0, 1]
    right = F.bss_eval(estimate, reference, window=300, filter_length=TAPS)
    found = F.bss_eval(estimate[order], reference, window=300, filter_length=TAPS, permutation=True)
    assert found.permutation[:, 0].tolist() == [1, 2, 0]
    compare(found, [getattr(right, name) for name in RATIOS], [1e-9] * 4)
    mirrored = F.bss_eval(estimate[order], reference[order], window=300, filter_length=TAPS)
    compare(mirrored, [getattr(right, name)[order] for name in RATIOS], [1e-9] * 4)


def test_batches_equal_items_and_padding_does_not_count(stems):
    batch = [torch.stack([x, x.flip(0)]) for x in stems]
    lengths = [700, 900]
    padded = [x.clone() for x in batch]
    for x in padded:
        x[0, ..., 700:] = torch.nan
    options = {"window": 300, "filter_length": 4}
    result = F.bss_eval(*padded, lengths=lengths, **options)
    fast = F.framewise_sdr(*padded, lengths=lengths, window=300)
    assert result.sdr.shape == fast.shape == (2, 3, 3)
    for index, length in enumerate(lengths):
        alone = F.bss_eval(*(x[index, ..., :length] for x in batch), **options)
        frames = alone.sdr.shape[-1]
        for name in (*RATIOS, "permutation", "silent"):
            part = getattr(result, name)[index, :, :frames]
            torch.testing.assert_close(part, getattr(alone, name), rtol=0, atol=0)
        torch.testing.assert_close(fast[index, :, :frames], alone.sdr, rtol=0, atol=1e-12)
    assert result.sdr[0, :, 2].isnan().all()
    assert fast[0, :, 2].isnan().all()


def test_policies_for_silence(stems):
    estimate, reference = (x.clone() for x in stems)
    reference[0, :, :300] = 0
    estimate[1, :, 300:600] = 0
    reference[2, 1, 600:] = -reference[2, 0, 600:]
    undefined = {
        "nan": [[True, False, False], [False] * 3, [False] * 3],
        "skip_source": [[True, False, False], [False, True, False], [False] * 3],
        "museval": [[True] * 3] * 3,
    }
    for policy, expected in undefined.items():
        options = {"window": 300, "silent": policy}
        result = F.bss_eval(estimate, reference, filter_length=4, **options)
        for name in RATIOS:
            assert getattr(result, name).isnan().tolist() == expected, (policy, name)
        fast = F.framewise_sdr(estimate, reference, **options)
        torch.testing.assert_close(fast, result.sdr, equal_nan=True, rtol=0, atol=1e-12)
    kept = F.bss_eval(estimate, reference, filter_length=4, window=300)
    np.testing.assert_allclose(kept.sdr[1, 1], 0, atol=1e-12)
    reference[0] = 0
    with pytest.raises(AudioError, match="reference of source 0 is silent throughout"):
        F.bss_eval(estimate, reference, filter_length=4, silent="museval")


def test_perfect_estimates(stems):
    _, reference = stems
    result = F.bss_eval(reference, reference, filter_length=TAPS)
    assert (result.sdr == torch.inf).all()
    assert (result.sar > 150).all()
    assert (result.sir > 150).all()


@pytest.mark.parametrize(
    ("name", "options", "silence"),
    [
        ("museval_v4_win1s [SDR,ISR,SIR,SAR,perm] (src,frames)", {"window": 8000}, False),
        ("museval_v4_whole_signal_inf", {}, False),
        (
            "museval_v4_silent_frame (src1 silent in second 1 -> whole frame NaN)",
            {"window": 8000, "silent": "museval"},
            True,
        ),
    ],
)
def test_published_values_of_museval(name, options, silence):
    estimate, reference = separation_pair()
    if silence:
        reference[1, :, 8000:16000] = 0
    # Framewise, this mix has a condition number of 3e12: museval itself is 1e-4 dB from the exact
    # solution in extended precision there.
    tolerance = [1e-9, 1e-6, 3e-4, 3e-4] if options else [1e-9, 1e-6, 1e-6, 1e-6]
    compare(F.bss_eval(estimate, reference, **options), array(SEPARATION[name][:4]), tolerance)


def test_published_values_of_mir_eval():
    estimate, reference = (x.mean(1, keepdim=True) for x in separation_pair())
    result = F.bss_eval(estimate[[2, 0, 1]], reference, kind="sources", permutation=True)
    expected = array(SEPARATION["mir_eval_bss_eval_sources_mono_mean [SDR,SIR,SAR,perm]"])
    for name, value in zip(("sdr", "sir", "sar"), expected, strict=False):
        np.testing.assert_allclose(getattr(result, name)[:, 0], value, rtol=0, atol=1e-6)
    assert result.permutation[:, 0].tolist() == [1, 2, 0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"version": "v3", "permutation": True}, {"framewise_filters": True, "permute": True}),
        ({"kind": "sources"}, {"bsseval_sources_version": True}),
    ],
)
def test_museval_itself_on_well_conditioned_sounds(rng, monkeypatch, ours, theirs):
    monkeypatch.setitem(sys.modules, "stempeg", types.ModuleType("stempeg"))
    museval = pytest.importorskip("museval.metrics")
    reference = rng.standard_normal((2, 2, 12_000))
    estimate = reference + 0.3 * reference[::-1] + 0.1 * rng.standard_normal(reference.shape)
    theirs = {("compute_permutation" if k == "permute" else k): v for k, v in theirs.items()}
    expected = museval.bss_eval(
        reference.transpose(0, 2, 1), estimate.transpose(0, 2, 1), window=5000, hop=3500, **theirs
    )
    result = F.bss_eval(
        torch.from_numpy(estimate.copy()),
        torch.from_numpy(reference),
        window=5000,
        hop=3500,
        **ours,
    )
    compare(result, expected[:4], [1e-6 if "kind" in ours else 1e-9, 1e-4, 1e-4, 1e-4])
    assert (result.permutation.numpy() == expected[4]).all()


def test_errors(stems):
    estimate, reference = stems
    with pytest.raises(ShapeError, match="100 samples shorter"):
        F.bss_eval(estimate[..., 100:], reference)
    with pytest.raises(ShapeError, match="sources, channels, samples"):
        F.bss_eval(estimate[0], reference[0])
    with pytest.raises(ParameterError, match="hop -1"):
        F.bss_eval(estimate, reference, window=10, hop=-1)
    with pytest.raises(ParameterError, match="version is 'v5'"):
        F.bss_eval(estimate, reference, version="v5")
    with pytest.raises(ParameterError, match="filter_length is 0"):
        F.bss_eval(estimate, reference, filter_length=0)
    with pytest.raises(ParameterError, match="lengths go from 0"):
        F.bss_eval(estimate[None], reference[None], lengths=[0])
    bad = estimate.clone()
    bad[1, 0, 7] = torch.inf
    with pytest.raises(AudioError, match=r"estimate holds 1 samples.*\(1, 0, 7\)"):
        F.bss_eval(bad, reference)
    with pytest.raises(AudioError, match="NaN or infinite"):
        F.bss_eval_blocks(lambda: [(bad, reference)])
    with pytest.raises(ShapeError, match="throughout"):
        F.bss_eval_blocks(lambda: [(estimate, reference), (estimate[:1], reference[:1])])
    with pytest.raises(ShapeError, match="no samples"):
        F.bss_eval_blocks(list)
