"""Deviation of the effects from scipy and pedalboard."""

import importlib.util
import sys
from pathlib import Path

CASES = Path(__file__).parents[1] / "tests" / "effects" / "parity_cases.py"


def run() -> str:
    spec = importlib.util.spec_from_file_location("parity_cases", CASES)
    parity = importlib.util.module_from_spec(spec)
    sys.modules["parity_cases"] = parity
    spec.loader.exec_module(parity)
    rows = [
        "## Effects equal their references",
        "",
        "Two seconds of stereo noise in float32 at 44.1 kHz; relative error in the Euclidean norm. "
        "scipy computes in float64, pedalboard in float32. `tests/effects/test_parity.py` holds "
        "every row to its bound. pedalboard sums the phase of its oscillators in single precision, "
        "which drifts; for the chorus and the phaser ours follow that phase as a curve of their "
        "rate. Its reverb fades its values in at the start and is warmed up on silence.",
        "",
        "| effect | reference | relative error | bound |",
        "|---|---|---|---|",
    ]
    rows += [
        f"| {case.label} | {case.rival} | {case.error():.1e} | {case.bound:.0e} |"
        for case in parity.cases()
    ]
    return "\n".join(rows)
