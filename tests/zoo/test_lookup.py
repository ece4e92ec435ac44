"""From what a user types as MODEL to a separator."""

import hashlib

import pytest
import torch

import sonograd
from sonograd.config import SpectrogramNetSimpleConfig, write_config
from sonograd.errors import CheckpointError, ConfigError, ModelNotFoundError, ParameterError
from sonograd.separators import CenterExtraction, SpectrogramNetSimple, save_separator
from sonograd.zoo import load, model_names, resolve

CONFIG = SpectrogramNetSimpleConfig(
    targets=("vocals", "drums"),
    num_hidden_channels=1,
    num_fft=64,
    window_size=64,
    hop_length=16,
    sample_rate=8000,
    sample_length=0.1,
)


@pytest.fixture
def net():
    return SpectrogramNetSimple(CONFIG).eval()


@pytest.fixture
def session(net, tmp_path):
    folder = tmp_path / "my_model"
    folder.mkdir()
    write_config(CONFIG, folder / "model.json")
    save_separator(net, folder / "weights.safetensors")
    return folder


def test_it_is_the_name_that_people_know():
    assert sonograd.load is load
    assert sonograd.models.load is load


@pytest.mark.parametrize("name", model_names())
def test_every_name_loads(name):
    separator = load(name)
    assert not any(module.training for module in separator.modules())
    assert separator.stems


def test_names_are_sorted_and_hold_those_without_weights():
    assert list(model_names()) == sorted(model_names())
    assert {"hpss", "center", "repet"} <= set(model_names())


def test_models_without_weights_take_the_rate_and_channels_of_the_song():
    separator = load("hpss", sample_rate=22050, channels=6)
    assert (separator.sample_rate, separator.channels) == (22050, 6)
    assert (load("hpss").sample_rate, load("hpss").channels) == (44100, 2)
    assert type(load("center", sample_rate=8000)) is CenterExtraction


@pytest.mark.parametrize("what", ["", "model.json", "weights.safetensors"])
def test_a_session_folder_its_configuration_or_its_weights(session, net, what):
    separator = load(session / what)
    mix = torch.randn(1, 900)
    assert torch.equal(separator.separate(mix), net.separate(mix))
    assert load(str(session / what)).stems == ("vocals", "drums")


def test_resolving_loads_nothing(session):
    resolved = resolve(session)
    weights = session / "weights.safetensors"
    assert (resolved.name, resolved.path) == ("my_model", weights)
    assert resolved.config_path == session / "model.json"
    assert resolved.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert resolve(weights).name == "weights"
    weights.write_bytes(b"damaged")
    assert resolve(session).path == weights
    with pytest.raises(CheckpointError, match="damaged"):
        resolve(session).load()


def test_models_without_weights_have_no_hash():
    assert resolve("repet").sha256 is None
    assert resolve("repet").path is None


def test_the_current_folder_has_a_name_too(session, monkeypatch):
    monkeypatch.chdir(session)
    assert resolve(".").name == "my_model"


def test_one_target(session, net):
    separator = load(session, "drums")
    assert separator.stems == ("drums",)
    mix = torch.randn(1, 900)
    assert torch.equal(separator.separate(mix), net.separate(mix)[1:])
    with pytest.raises(ParameterError, match=r"no stem 'drum'; .* vocals, drums.*mean 'drums'"):
        load(session, "drum")


def test_trained_models_have_their_own_rate_and_channels(session):
    with pytest.raises(ParameterError, match="sample_rate is 44100, but my_model was trained"):
        load(session, sample_rate=44100)
    with pytest.raises(ParameterError, match="channels is 2, but my_model was trained"):
        load(session, channels=2)


def test_unknown_names_get_the_nearest_and_all():
    with pytest.raises(ModelNotFoundError, match=r"'hpps': .*center, .*Did you mean 'hpss'\?"):
        load("hpps")
    with pytest.raises(ModelNotFoundError, match="no model has this name"):
        load("")
    with pytest.raises(ModelNotFoundError, match="there is no such file or folder"):
        load("folder/weights.safetensors")
    for unusable in ("~no-such-user/x", "x" * 5000):
        with pytest.raises(ModelNotFoundError, match="not a usable path"):
            load(unusable)


def test_a_session_folder_without_weights(session):
    (session / "weights.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"no weights yet.*sonograd train") as caught:
        load(session)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_session(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"not a session folder, there is no model\.json"):
        load(tmp_path)


def test_a_configuration_that_was_edited(session):
    (session / "model.json").write_text('{"model_type": "SpectrogramNetSimple", "num_ff": 1}')
    with pytest.raises(ConfigError, match="num_ff: no such key"):
        load(session)
    write_config(SpectrogramNetSimpleConfig(), session / "model.json")
    with pytest.raises(CheckpointError, match="was trained with"):
        load(session)


def test_pickled_checkpoints_are_refused(session):
    path = session / "checkpoint.pth"
    torch.save({}, path)
    with pytest.raises(CheckpointError, match="can run any program"):
        load(path)


def test_audio_is_no_model(tmp_path):
    (tmp_path / "song.wav").write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load(tmp_path / "song.wav")


def test_a_name_comes_before_a_folder_of_that_name(session, monkeypatch):
    session.rename(session.parent / "hpss")
    monkeypatch.chdir(session.parent)
    assert load("hpss").stems == ("harmonic", "percussive")
    assert load("./hpss").stems == ("vocals", "drums")
