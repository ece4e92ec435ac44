"""Weights of auralflow."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import sonograd
from sonograd.cli.app import main
from sonograd.errors import CheckpointError, ConfigError, ModelNotFoundError
from sonograd.separators.legacy_auralflow import (
    LegacyAuralflow,
    LegacyDialect,
    LegacySettings,
    load_legacy_auralflow,
    read_legacy_weights,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "legacy_auralflow.npz"
KINDS = ("SpectrogramNetSimple", "SpectrogramNetLSTM", "SpectrogramNetVAE")


def _settings(kind="SpectrogramNetSimple", axis=1, **changes):
    given = {
        "model_type": kind,
        "targets": ("vocals",),
        "num_hidden_channels": 1,
        "sample_length": 1.5,
        "sample_rate": 8000,
        "num_fft": 256,
        "window_size": 256,
        "hop_length": 128,
        "normalize_input": True,
        "normalize_output": True,
        "hidden_size": 6,
        "recurrent_depth": 2,
        "input_axis": axis,
    }
    return LegacySettings(**(given | changes))


def fill(network):
    """Give a network weights that anyone can make again."""
    generator = torch.Generator().manual_seed(7)
    state = network.state_dict()
    for name in sorted(state):
        value = state[name]
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.is_floating_point():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return state


def _example():
    return torch.rand(1, 1, 129, 95, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("axis", [0, 1])
def test_masks_equal_those_of_the_original(kind, axis):
    # Made with the networks of auralflow 0.1.0, filled the same way; the first dialect.
    network = LegacyAuralflow(
        _settings(kind, axis), LegacyDialect(levels=6, older=True, head_norm=False)
    )
    network.load_state_dict(fill(network))
    with torch.no_grad():
        mask = network._mask(_example())[0, 0, ::8, ::8]
    np.testing.assert_allclose(mask, np.load(GOLDEN)[f"{kind}_{axis}"], atol=1e-5)


def test_dialects_are_told_apart():
    for dialect in (
        LegacyDialect(),
        LegacyDialect(older=True),
        LegacyDialect(levels=6, older=True, head_norm=False),
    ):
        assert LegacyDialect.of(LegacyAuralflow(_settings(), dialect).state_dict()) == dialect


def _session(folder, network, **changes):
    settings = {**vars(network.settings), **changes}
    (folder / "model.json").write_text(json.dumps({**settings, "dropout_p": 0.4}))
    state = {"best_model": network.state_dict(), "model": network.state_dict(), "last_epoch": 3}
    torch.save(state, folder / "checkpoint.pth")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_session_folders_load(tmp_path, kind):
    network = LegacyAuralflow(_settings(kind))
    fill(network)
    folder = _session(tmp_path, network)
    with pytest.warns(UserWarning, match="these are weights of auralflow; they run as its own"):
        model = sonograd.load(folder, target="vocals")
    assert model.stems == ("vocals",)
    mix = 0.1 * torch.randn(1, 30011)
    stem = model.separate(mix)
    assert stem.shape == (1, 1, 30011)
    assert torch.isfinite(stem).all()
    assert torch.equal(stem, model.separate(mix))
    assert stem.abs().max() > 1e-4


def test_items_do_not_see_each_other():
    network = LegacyAuralflow(_settings("SpectrogramNetLSTM")).eval()
    mix = torch.randn(3, 1, 12000)
    with torch.no_grad():
        together = network(mix)
        alone = torch.cat([network(x[None]) for x in mix])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_mask_of_ones_restores_the_mix():
    network = LegacyAuralflow(_settings(mask_act_fn="relu")).eval()
    torch.nn.init.constant_(network.output_norm.center, -100.0)
    mix = torch.randn(1, 50000)
    torch.testing.assert_close(network.separate(mix)[0], mix, atol=1e-5, rtol=0)


def test_training_mode_is_refused():
    network = LegacyAuralflow(_settings())
    assert not network.train().training


def test_bad_checkpoints_are_one_line(tmp_path):
    network = LegacyAuralflow(_settings())
    _session(tmp_path, network, num_hidden_channels=2)
    with pytest.raises(CheckpointError, match=r"does not fit its model\.json"):
        sonograd.load(tmp_path)
    with pytest.raises(ConfigError, match="model_type and targets"):
        load_legacy_auralflow(tmp_path / "checkpoint.pth", {})
    torch.save({"model": {}}, tmp_path / "checkpoint.pth")
    with pytest.raises(CheckpointError, match="not a checkpoint of auralflow"):
        load_legacy_auralflow(tmp_path / "checkpoint.pth", {})
    (tmp_path / "checkpoint.pth").write_bytes(b"no")
    with pytest.raises(CheckpointError, match="damaged"):
        load_legacy_auralflow(tmp_path / "checkpoint.pth", {})


def test_a_compressed_checkpoint_is_not_unpacked(tmp_path):
    _session(tmp_path, LegacyAuralflow(_settings()))
    path = tmp_path / "checkpoint.pth"
    with zipfile.ZipFile(path) as file:
        parts = {entry.filename: file.read(entry) for entry in file.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    with pytest.raises(CheckpointError, match="which files of weights never are"):
        read_legacy_weights(path)
    with pytest.raises(ModelNotFoundError, match="has no weights yet"):
        sonograd.load(tmp_path)


def test_its_folders_are_not_trained_on(tmp_path, capsys):
    network = LegacyAuralflow(_settings())
    folder = _session(tmp_path, network)
    before = (folder / "checkpoint.pth").read_bytes()
    assert main(["train", str(folder), "songs:", "--resume"]) == 2
    assert "weights of auralflow, which can be used but not trained on" in capsys.readouterr().err
    assert (folder / "checkpoint.pth").read_bytes() == before
