"""The RoFormers against the original networks: stored values, and the package if it is here."""

import json
import runpy
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from sonograd.config import BandSplitRoFormerConfig, MelBandRoFormerConfig
from sonograd.errors import CheckpointError, ConfigError, ParameterError
from sonograd.functional.filterbanks import mel_filterbank
from sonograd.separators import (
    BandSplitRoFormer,
    MelBandRoFormer,
    band_split_roformer,
    mel_band_roformer,
)
from sonograd.separators.bands import BandMasks, BandSplit, group_bands
from sonograd.separators.mel_band_roformer import mel_bands

ORIGINAL = runpy.run_path(str(Path(__file__).with_name("originals.py")))["original"]
GOLDEN = Path(__file__).parents[1] / "golden" / "separators"
SHARED = Path(__file__).parents[2] / "../shared/golden/separators"
MODULES = {
    "bs": (band_split_roformer, BandSplitRoFormer),
    "mel": (mel_band_roformer, MelBandRoFormer),
}


def read_golden(path):
    if not path.is_file():
        pytest.skip(f"{path.name} is not here")
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        kwargs = json.loads(file.metadata()["config"])
    state = {
        name.removeprefix("state."): tensors.pop(name) for name in list(tensors) if "state." in name
    }
    outputs = {int(name.split("_")[1]): tensors[name] for name in tensors if "output" in name}
    return kwargs, state, tensors["input"], outputs


def converted(kind, kwargs, state):
    module, cls = MODULES[kind]
    names = [f"stem {number}" for number in range(kwargs.get("num_stems", 1))]
    config = module.config_from_published({**kwargs, "sources": names})
    net = cls(config)
    net.load_state_dict(module.convert_state(state, config), strict=True)
    return net.eval()


def error(actual, expected):
    """Return the relative error on what both have; the originals drop the tail."""
    if expected.ndim == 3:
        expected = expected[:, None]
    actual = actual[..., : expected.shape[-1]]
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("kind", ["bs", "mel"])
@pytest.mark.parametrize("name", ["{}_tiny", "{}"])
def test_stored_values(kind, name):
    long = {"bs": "bs_roformer", "mel": "mel_band_roformer"}[kind]
    folder = GOLDEN if "tiny" in name else SHARED
    kwargs, state, mix, outputs = read_golden(folder / f"{name.format(long)}.safetensors")
    # The package has no switch for 0 Hz; the files of the training program were made with it.
    net = converted(kind, {**kwargs, "zero_dc": "tiny" not in name}, state)
    # Those files hold float32, of a transform with a window in float32.
    exact = 1e-10 if "tiny" in name else 2e-7
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, exact)):
        for samples, expected in outputs.items():
            with torch.no_grad():
                actual = net.to(dtype)(mix[..., :samples].to(dtype))
            assert actual.shape[-1] == samples
            assert error(actual, expected) < tolerance


@pytest.fixture
def package():
    return ORIGINAL("bs_roformer")


COMMON = {
    "dim": 8, "stereo": True, "dim_head": 4, "heads": 2, "stft_n_fft": 128, "stft_hop_length": 32,
    "stft_win_length": 128,
}  # fmt: skip
VARIANTS = {
    "bs": [
        {"depth": 2, "num_stems": 2, "freqs_per_bands": (1, 2, 2, 4, 8, 16, 32)},
        {"depth": 1, "freqs_per_bands": (5, 60), "mask_estimator_depth": 3, "stereo": False,
         "time_transformer_depth": 1, "freq_transformer_depth": 1},
    ],
    "mel": [
        {"depth": 2, "num_stems": 2, "num_bands": 10, "sample_rate": 8000,
         "linear_transformer_depth": 0},
        {"depth": 1, "num_bands": 7, "sample_rate": 16000, "linear_transformer_depth": 2,
         "stereo": False, "mask_estimator_depth": 2},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "variant"), [("bs", 0), ("bs", 1), ("mel", 0), ("mel", 1)])
def test_the_package_itself(package, kind, variant):
    kwargs = {**COMMON, **VARIANTS[kind][variant]}
    cls = package.BSRoformer if kind == "bs" else package.MelBandRoformer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks at its transform without a window
        original = cls(**kwargs, flash_attn=False).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in original.state_dict().items():
            if "rotary" in name:
                tensor.uniform_(0.1, 2, generator=torch.Generator().manual_seed(len(name)))
            else:
                tensor.normal_(0.3, 0.4, generator=generator)
        axes = [block[-2:] for block in original.layers]
        for transformers in axes:  # all layers along one axis share their frequencies
            for axis, transformer in enumerate(transformers):
                for attention, _ in transformer.layers:
                    frequencies = torch.linspace(0.2, 1.5 + axis, kwargs["dim_head"] // 2)
                    attention.rotary_embed.freqs.copy_(frequencies)
    net = converted(kind, {**kwargs, "zero_dc": False}, original.state_dict())
    assert not any(name.startswith("layers") for name in net.state_dict())
    original.stft_window_fn = lambda device=None: torch.hann_window(128, dtype=mix.dtype)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        original.to(dtype), net.to(dtype)
        for module in original.modules():  # forget angles that were computed in the other type
            if hasattr(module, "cached_freqs_seq_len"):
                module.cached_freqs_seq_len = 0
        for batch, samples in ((1, 800), (2, 799), (1, 101)):
            mix = torch.randn(batch, net.channels, samples, dtype=dtype, generator=generator) / 5
            with torch.no_grad():
                assert error(net(mix), original(mix)) < tolerance


def test_every_bin_is_in_a_mel_band_and_the_mean_counts():
    bands = mel_bands(60, 2048, 44100)
    assert len(bands) == 60
    assert sorted({number for band in bands for number in band}) == list(range(1025))
    bank = mel_filterbank(sample_rate=44100, n_fft=2048, n_mels=60, dtype=torch.float64)
    assert bands[30] == torch.nonzero(bank[30]).flatten().tolist()
    with pytest.raises(ParameterError, match="200 mel bands are too many"):
        mel_bands(200, 1024, 44100)


def test_groups_are_what_the_bands_are_one_by_one():
    bands = [[0], [1, 2], [3, 4], [5, 6], [4, 6, 7, 8]]
    assert group_bands([len(band) for band in bands]) == [range(1), range(1, 4), range(4, 5)]
    split = BandSplit(bands, 9, 2, 3).double()
    x = torch.randn(2, 4, 9, 2, dtype=torch.float64)
    features = split(x)
    for number, band in enumerate(bands):
        group = next(n for n, found in enumerate(split.groups) if number in found)
        layer, inner = split.layers[group], number - split.groups[group].start
        part = torch.nn.functional.normalize(x[:, :, band].flatten(2), dim=-1)
        width = part.shape[-1]
        scaled = part * width**0.5 * layer.gamma[inner, 0, :width]
        expected = scaled @ layer.weight[inner, :width] + layer.bias[inner]
        torch.testing.assert_close(features[:, :, number], expected)
    masks = BandMasks(bands, 9, 2, inputs=3, hidden=5, depth=1).double()
    given = masks(torch.randn(5, 7, 3, dtype=torch.float64))
    assert given.shape == (7, 9, 2)
    assert masks.counts[:, 0].tolist() == [1, 1, 1, 1, 2, 1, 2, 1, 1]


def test_neither_gradients_nor_tiles_change_the_result(monkeypatch):
    bands = [[0], [1], [2], [3, 4], [5, 6], [7, 8, 9]]
    split = BandSplit(bands, 10, 2, 3).double()
    masks = BandMasks(bands, 10, 2, inputs=3, hidden=5, depth=1).double()
    with torch.no_grad():
        for parameter in [*split.parameters(), *masks.parameters()]:
            parameter.normal_()
    x = torch.randn(2, 4, 10, 2, dtype=torch.float64)
    features = split(x)
    whole = masks(features.flatten(0, 1).transpose(0, 1))
    assert features.requires_grad
    monkeypatch.setattr("sonograd.separators.bands._TILE", 1)
    with torch.no_grad():
        torch.testing.assert_close(split(x), features)
        torch.testing.assert_close(masks(features.flatten(0, 1).transpose(0, 1)), whole)


def test_positions_that_differ_and_bands_that_are_missing():
    kwargs, state, _, _ = read_golden(GOLDEN / "bs_roformer_tiny.safetensors")
    names = [name for name in state if name.endswith("1.layers.0.0.rotary_embed.freqs")]
    with pytest.raises(CheckpointError, match=r"rotary_embed\.freqs differs from those before"):
        converted("bs", kwargs, {**state, names[0]: state[names[0]] + 1})
    state.pop("band_split.to_features.3.1.bias")
    with pytest.raises(CheckpointError, match=r"missing: band_split\.to_features\.3\.1\.bias"):
        converted("bs", kwargs, state)


def test_settings_that_are_not_understood():
    with pytest.raises(ConfigError) as info:
        band_split_roformer.config_from_published({"dim": 8, "depht": 1, "use_pope": True})
    assert "depht: no such argument. Did you mean 'depth'?" in str(info.value)
    assert "use_pope: True is not supported" in str(info.value)
    with pytest.raises(ConfigError, match=r"depth: this argument is missing"):
        mel_band_roformer.config_from_published({"dim": 8})
    with pytest.raises(ConfigError, match="expected a name for each"):
        mel_band_roformer.config_from_published({"dim": 8, "depth": 1, "num_stems": 2})
    with pytest.raises(ConfigError, match=r"bins_per_band: sums to 3; .* \(1025\)"):
        BandSplitRoFormerConfig(bins_per_band=(1, 2))
    with pytest.raises(ConfigError, match="num_bands: 600 are too many"):
        MelBandRoFormerConfig(num_bands=600)


def test_it_can_be_trained():
    config = BandSplitRoFormerConfig(
        sample_rate=8000, sample_length=0.1, num_fft=128, hop_length=32, width=8, depth=1,
        num_heads=2, head_width=4, bins_per_band=(5, 20, 40),
    )  # fmt: skip
    net = BandSplitRoFormer(config)
    mix = torch.randn(2, 2, 800)
    target = torch.nn.functional.avg_pool1d(mix, 3, 1, 1)[:, None]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = (net(mix) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
