"""SCNet against the original network, by stored values."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from sonograd.config import SCNetConfig
from sonograd.config.scnet import SCNET_PRESETS
from sonograd.errors import ConfigError
from sonograd.separators import SCNet, build_separator
from sonograd.separators.scnet import config_from_published, convert_state

GOLDEN = Path(__file__).parents[1] / "golden" / "separators"


def read_golden(name):
    path = GOLDEN / name
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        kwargs = json.loads(file.metadata()["config"])
    state = {key[6:]: tensor for key, tensor in tensors.items() if key.startswith("state.")}
    outputs = {int(key[7:]): tensor for key, tensor in tensors.items() if key.startswith("output")}
    return kwargs, state, tensors["input"], outputs


@pytest.mark.parametrize("name", ["scnet", "scnet_masked"])
def test_stored_values(name):
    kwargs, state, mix, outputs = read_golden(f"{name}.safetensors")
    config = config_from_published({**kwargs, "masked": "masked" in name})
    net = SCNet(config)
    net.load_state_dict(convert_state(state, config), strict=True)
    net.eval()
    # The files hold float32.
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-7)):
        for samples, expected in outputs.items():
            with torch.no_grad():
                actual = net.to(dtype)(mix[..., :samples].to(dtype))
            assert actual.shape == expected.shape
            assert (actual - expected).norm() < tolerance * expected.norm()
            with torch.no_grad():
                both = net(mix[..., :samples].to(dtype).expand(2, -1, -1))
            assert (both[1] - expected[0]).norm() < tolerance * expected.norm()


def test_a_mix_is_standardized_where_the_settings_say_so():
    kwargs, state, mix, _ = read_golden("scnet.safetensors")
    chunk = {"chunk_size": 7001, "num_overlap": 1}
    plain = SCNet(config_from_published({**kwargs, **chunk}))
    plain.load_state_dict(convert_state(state, plain.config))
    net = SCNet(config_from_published({**kwargs, **chunk, "normalize": True}))
    net.load_state_dict(plain.state_dict())
    song = mix[0] + 0.1
    mono = song.mean(0)
    mean, deviation = mono.mean(), mono.std(correction=0)
    expected = plain.separate((song - mean) / deviation) * deviation + mean
    actual = net.separate(song)
    # The deviation here is that of a sample, the other that of a population.
    assert (actual - expected).norm() < 1e-4 * expected.norm()
    assert (actual - plain.separate(song)).norm() > 1e-2 * expected.norm()


def test_the_published_sizes_have_their_numbers_of_weights():
    counts = {}
    with torch.device("meta"):
        for name, config in SCNET_PRESETS.items():
            net = build_separator(config)
            counts[name] = sum(weight.numel() for weight in net.parameters()) / 1e6
    assert math.isclose(counts["small"], 10.6, abs_tol=0.1)
    assert math.isclose(counts["large"], 42.2, abs_tol=0.4)
    assert counts["xl"] > counts["large"]
    assert counts["small"] < counts["masked"] < counts["small"] + 0.1


def test_settings_that_are_not_understood():
    with pytest.raises(ConfigError) as info:
        config_from_published({"dim": [4, 8], "normalized": False})
    assert "dim: no such argument. Did you mean 'dims'?" in str(info.value)
    assert "normalized: False is not supported; expected True." in str(info.value)
    with pytest.raises(ConfigError, match=r"dims: starts with 2; expected twice audio_channels"):
        config_from_published({"dims": [2, 8]})
    with pytest.raises(ConfigError, match="win_size: 100 is not supported"):
        config_from_published({"win_size": 100})


def test_settings_that_contradict_each_other():
    for change, match in (
        ({"band_kernels": (1, 1, 1)}, "leaves bins out with strides"),
        ({"band_shares": (0.1, 0.1, 0.1)}, r"band_shares: .* sum to 0\.3; expected 1"),
        ({"conv_kernel": 2}, "conv_kernel: 2 is even"),
        ({"compression": 64}, "compression: 64 leaves nothing of 32 maps"),
        ({"sample_length": 0.01}, "sample_length: 0.01 s is shorter than num_fft"),
        ({"hop_length": 4096}, "hop_length: 4096 is more than half"),
        ({"targets": ("a/b",)}, "cannot name a file"),
    ):
        with pytest.raises(ConfigError, match=match):
            SCNetConfig(**change)
