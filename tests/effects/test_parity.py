import importlib.util
import sys
from pathlib import Path

import pytest

_path = Path(__file__).with_name("parity_cases.py")
_spec = importlib.util.spec_from_file_location("parity_cases", _path)
parity = importlib.util.module_from_spec(_spec)
sys.modules["parity_cases"] = parity
_spec.loader.exec_module(parity)


@pytest.mark.parametrize("case", parity.cases(), ids=lambda case: f"{case.rival} {case.label}")
def test_equals_the_reference(case):
    if case.rival == "pedalboard":
        pytest.importorskip("pedalboard")
    assert case.error() < case.bound


def test_the_comparison_can_fail():
    case = next(case for case in parity.cases() if case.name == "Compressor")
    case.values["attack_ms"] *= 1.01
    assert case.error() > case.bound
