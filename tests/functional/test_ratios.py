import math
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonograd import functional as F
from sonograd.errors import AudioError, ParameterError, ShapeError

PER_SIGNAL = [F.snr, F.sdr, F.si_sdr, F.sd_sdr]


@pytest.fixture
def orthogonal(rng):
    """A reference and a noise of unit energy, orthogonal to each other."""
    pair, _ = np.linalg.qr(rng.standard_normal((500, 2)))
    return torch.from_numpy(pair.T.copy()).unbind()


@pytest.mark.parametrize(("gain", "level"), [(1.0, 0.1), (0.5, 0.3), (-2.0, 1e-4), (3.0, 7.0)])
def test_closed_form(orthogonal, gain, level):
    s, n = orthogonal
    estimate = gain * s + level * n
    noise = (1 - gain) ** 2 + level**2
    expected = {
        F.snr: -10 * math.log10(noise),
        F.sdr: -10 * math.log10(noise),
        F.si_sdr: 10 * math.log10(gain**2 / level**2),
        F.sd_sdr: 10 * math.log10(gain**2 / noise),
    }
    for function, value in expected.items():
        np.testing.assert_allclose(function(estimate, s), value, atol=1e-9)


def test_sources_are_aggregated(orthogonal):
    s, n = orthogonal
    reference = torch.stack((2 * s, 0 * s, s))
    estimate = reference + torch.stack((0.1 * n, 0.2 * n, 0.3 * n))
    expected = 10 * math.log10(5 / 0.14)
    np.testing.assert_allclose(F.sa_sdr(estimate, reference), expected, atol=1e-9)
    both = F.sa_sdr(estimate.expand(4, 3, -1), reference.expand(4, 3, -1))
    np.testing.assert_allclose(both, [expected] * 4, atol=1e-9)


@given(exponent=st.integers(-6, 6), other=st.integers(-6, 6))
def test_scale_invariance(exponent, other):
    generator = torch.Generator().manual_seed(exponent * 17 + other)
    s, e = torch.randn(2, 3, 400, generator=generator).unbind()
    e = e + s
    a, b = 10.0**exponent, 10.0**other
    torch.testing.assert_close(F.si_sdr(a * e, b * s), F.si_sdr(e, s), rtol=0, atol=1e-4)
    for function in (F.snr, F.sd_sdr, F.sa_sdr):
        torch.testing.assert_close(function(a * e, a * s), function(e, s), rtol=0, atol=1e-4)


def test_scale_of_the_estimate_matters_where_it_should():
    s, e = torch.randn(2, 100)
    e = e + s
    for function in (F.snr, F.sd_sdr):
        assert abs(function(2 * e, s) - function(e, s)) > 0.1


@pytest.mark.parametrize("function", PER_SIGNAL)
def test_items_do_not_interact(function):
    estimate, reference = torch.randn(2, 2, 3, 50, dtype=torch.float64)
    values = function(estimate, reference)
    assert values.shape == (2, 3)
    estimate[0, 0] = 0
    reference[1, 1] = 0
    changed = function(estimate, reference)
    same = torch.tensor([[False, True, True], [True, False, True]])
    assert torch.equal(values[same], changed[same])


def test_silence():
    zero, one = torch.zeros(8), torch.ones(8)
    wave = torch.tensor([1.0, -1.0] * 4)
    nan, inf = math.nan, math.inf
    cases = {
        F.snr: [inf, -inf, nan, 0.0],
        F.sdr: [inf, -inf, nan, 0.0],
        F.si_sdr: [inf, nan, nan, nan],
        F.sd_sdr: [inf, nan, nan, -inf],
    }
    pairs = [(one, one), (one, zero), (zero, zero), (zero, one)]
    for function, expected in cases.items():
        actual = [float(function(estimate, reference)) for estimate, reference in pairs]
        np.testing.assert_array_equal(actual, expected)
    assert F.si_sdr(wave, one) == -inf
    sources = [float(F.sa_sdr(e.expand(2, 8), r.expand(2, 8))) for e, r in pairs]
    np.testing.assert_array_equal(sources, [inf, -inf, nan, 0.0])


@pytest.mark.parametrize("function", [*PER_SIGNAL, F.sa_sdr])
def test_gradients_and_shapes(function):
    estimate = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    reference = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (estimate, reference))
    with pytest.raises(ShapeError, match="nothing is broadcast"):
        function(torch.ones(2, 5), torch.ones(1, 5))


GOLDEN = runpy.run_path(str(Path(__file__).parents[1] / "metrics" / "golden.py"))
WITH_LENGTHS = [
    *PER_SIGNAL,
    F.si_snr,
    F.sa_sdr,
    F.thresholded_snr,
    F.usdr,
    F.msst_sdr,
    F.pairwise_si_sdr,
    lambda e, r, **options: torch.stack(F.si_bss_eval(e, r, **options)),
    lambda e, r, **options: torch.stack(F.si_bss_eval(e, r, zero_mean=True, **options)),
    lambda e, r, **options: F.pairwise_si_sdr(e, r, zero_mean=True, **options),
]


@pytest.mark.parametrize("function", WITH_LENGTHS)
def test_padding_does_not_count(function):
    estimate, reference = torch.randn(2, 2, 3, 60, dtype=torch.float64) + 0.3
    padded = [x.clone() for x in (estimate, reference)]
    for x in padded:
        x[0, :, 41:] = math.nan
    values = function(*padded, lengths=torch.tensor([41, 60]))
    expected = [
        function(estimate[i : i + 1, :, :n], reference[i : i + 1, :, :n])
        for i, n in enumerate((41, 60))
    ]
    axis = expected[0].shape.index(1)
    torch.testing.assert_close(values, torch.cat(expected, axis), rtol=0, atol=1e-10)


@pytest.mark.parametrize("function", WITH_LENGTHS)
def test_values_do_not_depend_on_scale_or_precision(function):
    estimate, reference = torch.randn(2, 3, 200)
    estimate = reference + 0.1 * estimate
    value = function(estimate.double(), reference.double())
    level = 1e3 if function in {F.usdr, F.msst_sdr} else 1e-6
    for scale in (level, 1e6):
        scaled = function(scale * estimate, scale * reference)
        assert scaled.dtype == torch.float32
        torch.testing.assert_close(scaled, value.float(), rtol=0, atol=1e-3)


def test_a_quiet_error_is_measured_exactly():
    signal, noise = torch.randn(2, 100_000).double()
    for level in (1e-4, 1e-6):
        estimate = signal + level * noise
        expected = F.snr(estimate, signal)
        assert abs(F.si_sdr(estimate, signal) - expected) < 0.05
        pair = F.pairwise_si_sdr(estimate[None], signal[None])[0, 0]
        assert abs(pair - F.si_sdr(estimate, signal)) < 0.01


def test_the_mean_is_forgiven_by_si_snr_alone():
    noise, reference = torch.randn(2, 3, 400, dtype=torch.float64)
    estimate = reference + 0.1 * noise
    torch.testing.assert_close(F.si_snr(estimate + 5, reference - 3), F.si_snr(estimate, reference))
    assert (F.si_sdr(estimate + 5, reference) < F.si_sdr(estimate, reference)).all()
    centered = [x - x.mean(-1, keepdim=True) for x in (estimate, reference)]
    for function in (F.snr, F.sd_sdr):
        torch.testing.assert_close(
            function(estimate, reference, zero_mean=True), function(*centered)
        )


def test_thresholded_snr():
    reference = torch.randn(2, 500, dtype=torch.float64)
    torch.testing.assert_close(
        F.thresholded_snr(reference, reference), torch.full((2,), 30.0).double()
    )
    noisy = reference + 0.1 * torch.randn_like(reference)
    ratio = 10 ** (-F.snr(noisy, reference) / 10) + 1e-2
    torch.testing.assert_close(
        F.thresholded_snr(noisy, reference, max_snr_db=20), -10 * torch.log10(ratio)
    )
    silence = torch.zeros_like(reference)
    assert (F.thresholded_snr(noisy, silence) == -math.inf).all()
    mix = 10 * noisy
    torch.testing.assert_close(
        F.thresholded_snr(noisy, silence, mix=mix),
        torch.full((2,), -10 * math.log10(0.01 + 0.001)).double(),
    )
    with pytest.raises(ParameterError, match="max_snr_db is nan"):
        F.thresholded_snr(noisy, silence, max_snr_db=math.nan)


def test_published_values():
    estimate, reference = GOLDEN["separation_pair"]()
    values, array = GOLDEN["SEPARATION"], GOLDEN["array"]
    usdr = array(values["mdx_sdr_delta1e-7_sum (demucs new_sdr, float64)"])
    np.testing.assert_allclose(F.usdr(estimate, reference), usdr, atol=1e-9)
    silence = torch.zeros_like(reference)
    np.testing.assert_array_equal(F.usdr(silence, silence), array(values["mdx_sdr_both_silent"]))
    np.testing.assert_allclose(
        F.si_sdr(estimate, reference),
        array(values["torchmetrics_si_sdr_zero_mean=False"]),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        F.snr(estimate, reference), array(values["torchmetrics_snr_zero_mean=False"]), atol=1e-5
    )
    mono = estimate.mean(1), reference.mean(1)
    scheibler = array(values["fast_bss_eval_si_bss_eval_sources [SI-SDR,SI-SIR,SI-SAR,perm]"][:3])
    np.testing.assert_allclose(
        torch.stack(F.si_bss_eval(*mono, si_sar="projection")), scheibler, atol=1e-7
    )
    key = "leroux_si_sdr_si_sir_si_sar [src][3] (differs from fast_bss_eval in SI-SAR)"
    np.testing.assert_allclose(torch.stack(F.si_bss_eval(*mono), -1), array(values[key]), atol=1e-7)
    pit = F.pairwise_si_sdr(mono[0][[2, 0, 1]], mono[1])
    assert F.best_permutation(pit, maximize=True).tolist() == [1, 2, 0]


def test_dependent_and_silent_sources_do_not_break_the_projection():
    estimate, reference = torch.randn(2, 4, 300, dtype=torch.float64)
    reference[3] = reference[0] * 1e-5
    reference[2] = 0
    result = F.si_bss_eval(estimate, reference)
    for values in result:
        assert values[[0, 1, 3]].isfinite().all()
        assert values[2].isnan()


def test_nothing_interferes_with_a_single_source():
    reference = torch.randn(2, 1, 4000)
    estimate = reference + 0.1 * torch.randn(2, 1, 4000)
    result = F.si_bss_eval(estimate, reference)
    assert (result.si_sir == math.inf).all()
    torch.testing.assert_close(result.si_sar, result.si_sdr)
    bss = F.bss_eval(estimate[:, :, None], reference[:, :, None], filter_length=8)
    assert (bss.sir == math.inf).all()
    for pair in ((estimate, 0 * reference), (0 * estimate, reference)):
        assert F.si_bss_eval(*pair).si_sir.isnan().all()


def test_errors():
    x = torch.randn(2, 3000)
    with pytest.raises(ShapeError, match="5 samples shorter"):
        F.snr(x[..., 5:], x)
    with pytest.raises(ShapeError, match=r"Is it \(samples, channels\)"):
        F.si_sdr(x.mT, x.mT)
    with pytest.raises(ShapeError, match="int64"):
        F.snr(x.long(), x.long())
    with pytest.raises(ShapeError, match="holds no samples"):
        F.snr(x[:, :0], x[:, :0])
    bad = x.clone()
    bad[1, 7] = math.nan
    with pytest.raises(AudioError, match=r"reference holds 1 samples.*\(1, 7\)"):
        F.si_sdr(x, bad)
    with pytest.raises(ShapeError, match="one length for each index"):
        F.snr(x, x, lengths=[1, 2, 3])
    with pytest.raises(ParameterError, match="lengths go from 1 to 3001"):
        F.snr(x, x, lengths=[1, 3001])
    with pytest.raises(ParameterError, match="whole numbers"):
        F.snr(x, x, lengths=torch.tensor([1.0, 2.0]))
    with pytest.raises(ParameterError, match="delta is -1"):
        F.usdr(x, x, delta=-1)
    with pytest.raises(ParameterError, match="'target' or 'projection'"):
        F.si_bss_eval(x, x, si_sar="other")
