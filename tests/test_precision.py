"""Which arithmetic is chosen."""

import pytest
import torch

from sonograd import precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh():
    precision.bf16_is_faster.cache_clear()
    yield
    precision.bf16_is_faster.cache_clear()


@pytest.mark.parametrize(("seconds", "faster"), [(0.5, True), (0.9, False), (2.0, False)])
def test_what_was_measured_decides(monkeypatch, seconds, faster):
    times = {torch.float32: 1.0, torch.bfloat16: seconds}
    monkeypatch.setattr(precision, "product_seconds", times.__getitem__)
    assert precision.bf16_is_faster(CPU) is faster


def test_products_take_time():
    assert 0 < precision.product_seconds(torch.float32) < 1


def test_other_devices_are_not_measured(monkeypatch):
    monkeypatch.setattr(precision, "product_seconds", None)
    assert not precision.bf16_is_faster(torch.device("meta"))
    assert not precision.has_bf16_units(torch.device("meta"))


@pytest.mark.parametrize("flags", ["fpu avx512_bf16 amx_bf16 amx_tile", "fpu avx512_bf16"])
def test_units_are_told_by_the_system(monkeypatch, flags):
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: f"flags : {flags}")
    assert precision.has_bf16_units(CPU) is ("amx_bf16" in flags)
