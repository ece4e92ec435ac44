"""Layers work on bands of their maps: the result is that of the whole."""

import runpy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sonograd.config import DemucsConfig, HTDemucsConfig, HybridDemucsConfig
from sonograd.separators import BandSplitRoFormer, SCNet, build_separator
from sonograd.separators.bandwise import bands, gated_bands, map_bands, spread_bands

TINY = runpy.run_path(str(Path(__file__).with_name("tiny.py")))["TINY"]
SMALL = {"num_hidden_channels": 4, "sample_length": 0.5, "sample_rate": 8000}
CONFIGS = {
    "demucs": DemucsConfig(**SMALL, depth=4),
    "hybrid": HybridDemucsConfig(**SMALL),
    "hybrid with bands": HybridDemucsConfig(**SMALL, band_edges=(0.3, 0.7)),
    "ht": HTDemucsConfig(
        **{**SMALL, "num_hidden_channels": 8}, transformer_layers=1, transformer_heads=2
    ),
}


@pytest.fixture(params=[1, 500, 1 << 20], ids=["single rows", "bands", "whole"])
def band_elements(request, monkeypatch):
    monkeypatch.setattr("sonograd.separators.bandwise.BAND_ELEMENTS", request.param)
    return request.param


def test_bands_cover_an_axis(band_elements):
    limits = list(bands(torch.zeros(2, 3, 37, 5), 2))
    assert [i for begin, end in limits for i in range(begin, end)] == list(range(37))
    sizes = {end - begin for begin, end in limits[:-1]}
    assert sizes == {1: {1}, 500: {16}, 1 << 20: set()}[band_elements]
    assert list(bands(torch.zeros(2, 3, 0), 2)) == []
    finer = list(bands(torch.zeros(2, 3, 37, 5), 2, 4))
    assert {end - begin for begin, end in finer[:-1]} == {1: {1}, 500: {4}, 1 << 20: set()}[
        band_elements
    ]


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_a_band_sees_its_neighbors_as_they_were(band_elements, reach):
    x = torch.randn(2, 3, 37, 5)
    wanted = x.clone()
    if reach:
        padded = F.pad(x, (0, 0, reach, reach))
        wanted = padded.unfold(2, 2 * reach + 1, 1).sum(-1)

    def add(band):
        return band.unfold(2, 2 * reach + 1, 1).sum(-1)

    into = torch.empty_like(x)
    assert map_bands(add, x, into, dim=2, reach=reach) is into
    torch.testing.assert_close(into, wanted)
    torch.testing.assert_close(map_bands(add, x, x, dim=2, reach=reach), wanted)


@torch.no_grad()
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("conv", [nn.Conv1d, nn.Conv2d])
def test_gated_convolution_is_that_of_the_whole(band_elements, conv, kernel):
    layer = conv(4, 8, kernel, padding=kernel // 2).double()
    x = torch.randn(2, 4, *(19, 23)[: 1 if conv is nn.Conv1d else 2], dtype=torch.float64)
    found = gated_bands(x, layer, torch.empty_like(x), after=torch.tanh)
    torch.testing.assert_close(found, torch.tanh(F.glu(layer(x), dim=1)))


@torch.no_grad()
@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("conv", [nn.ConvTranspose1d, nn.ConvTranspose2d])
def test_transposed_convolution_is_that_of_the_whole(band_elements, conv, stride):
    flat = conv is nn.ConvTranspose1d
    size = (2 * stride, stride) if flat else ((2 * stride, 1), (stride, 1))
    layer = conv(4, 6, *size).double()
    x = torch.randn(2, 4, *(19, 23)[: 1 if flat else 2], dtype=torch.float64)
    margin = stride // 2
    wanted = F.gelu(layer(x)[:, :, margin:-margin])
    torch.testing.assert_close(spread_bands(x, layer, after=F.gelu), wanted)


@pytest.mark.parametrize("name", [*CONFIGS, BandSplitRoFormer, SCNet])
def test_networks_give_the_same_in_bands(band_elements, name):
    made = build_separator(CONFIGS[name]) if name in CONFIGS else TINY[name]()
    separator = made.double().eval()
    mix = torch.randn(2, separator.channels, 3001, dtype=torch.float64)
    given = mix.clone()
    wanted = separator(mix).detach()
    with torch.no_grad():
        found = separator(mix)
    assert torch.equal(mix, given)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-11)
