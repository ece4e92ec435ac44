"""The numbers that the page on a gain control tells are those that it computes."""

import runpy
from pathlib import Path

import matplotlib as mpl
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "gallery" / "plot_gain_control.py"


@pytest.fixture(scope="module")
def page():
    backend = mpl.get_backend()
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "show", lambda: shown.append(plt.close("all")))
        patch.setattr("sonograd.plotting.animate_fit", lambda *_, **__: None)
        values = runpy.run_path(str(PAGE))
    mpl.use(backend)
    assert len(shown) == 2
    return values


def test_the_tone_has_600_hz(page):
    assert page["frequency"] == pytest.approx(600.075, abs=2e-3)


def test_in_phase_descent_ends_in_two_gains_one_step_apart(page):
    low, high = sorted(page["in_phase"][-2:])
    assert low == pytest.approx(0.147035, abs=2e-6)
    assert high == pytest.approx(0.153402, abs=2e-6)
    assert high - low == pytest.approx(page["step"], rel=1e-4)
    assert page["in_phase"][-4:-2] == page["in_phase"][-2:]
    assert page["arrived"] == 132


def test_a_quarter_period_collapses_to_silence(page):
    assert page["collapsed"][-1] == pytest.approx(0.000204, abs=2e-6)
    assert float(page["formula"][0]) == pytest.approx(0.0955, abs=1e-4)


def test_spectral_magnitudes_stay_in_a_band_around_the_truth(page):
    assert page["spectral"][-1] == pytest.approx(0.139613, abs=2e-4)
    assert page["band"] == pytest.approx((0.1382, 0.1579), abs=3e-4)
    assert page["lowest"] == pytest.approx(0.15, abs=1e-6)
    assert float(page["landscape"].min()) == pytest.approx(0.0331, abs=1e-4)


def test_power_diverges_and_a_true_half_turn_is_found_with_its_sign(page):
    assert page["gains"][1] == pytest.approx(-78.97, abs=0.01)
    assert len(page["gains"]) < 30
    assert abs(page["gains"][-1]) > 1e12
    assert page["turned"][-1] == pytest.approx(-0.145773, abs=2e-6)
    assert page["blind"][-1] > 0


def test_what_can_be_solved_beats_the_loop(page):
    assert page["squared"][-1] == pytest.approx(0.19170, abs=1e-5)
    assert page["newton"][2] == pytest.approx(0.15, abs=1e-6)
    assert page["least_squares"] == pytest.approx(0.15, abs=1e-7)
    assert abs(page["off"]) < 1e-6
    assert page["levels"] == pytest.approx(0.150019, abs=1e-6)
