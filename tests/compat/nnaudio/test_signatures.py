"""nnAudio's names, arguments, orders and defaults; checked against the package where it is."""

import importlib
import importlib.util
import inspect
import warnings
from pathlib import Path

import pytest

from sonograd.compat.nnaudio import Spectrogram, features, librosa_functions, utils
from sonograd.compat.nnaudio.v1 import Spectrogram as FirstRelease


def _load_signatures():
    path = Path(__file__).with_name("signatures.py")
    spec = importlib.util.spec_from_file_location("nnaudio_signatures", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITTEN = _load_signatures()
FUNCTIONS = {
    **{name: (utils, text) for name, text in WRITTEN.UTILS.items()},
    **{name: (librosa_functions, text) for name, text in WRITTEN.LIBROSA.items()},
}


def text_of(function):
    """Return a signature without self, annotations and what only we have."""
    parts = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in {"self", "legacy"}:
            continue
        default = parameter.default
        plain = parameter.replace(
            annotation=inspect.Parameter.empty,
            default=list(default) if isinstance(default, tuple) else default,
        )
        parts.append(str(plain))
    return ", ".join(part for part in parts if part != "*")


def nnaudio(name):
    pytest.importorskip("nnAudio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"nnAudio.{name}")


@pytest.mark.parametrize("name", sorted(WRITTEN.LAYERS))
def test_layers_take_the_arguments_of_nnaudio(name):
    layer = getattr(features, name)
    assert text_of(layer.__init__) == WRITTEN.LAYERS[name]
    assert text_of(layer.forward) == WRITTEN.FORWARD[name]
    assert getattr(Spectrogram, name) is layer


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_take_the_arguments_of_nnaudio(name):
    module, text = FUNCTIONS[name]
    written = text.replace("device", "*, device") if "*size" not in text else text
    assert text_of(getattr(module, name)) == written
    assert hasattr(features, name)


@pytest.mark.parametrize("name", sorted(WRITTEN.FIRST))
def test_the_first_release_has_its_own_arguments(name):
    assert text_of(getattr(FirstRelease, name).__init__) == WRITTEN.FIRST[name]


def test_legacy_is_the_last_argument_and_by_keyword_only():
    for name in ("CQT", "CQT1992", "CQT1992v2", "CQT2010", "CQT2010v2", "VQT", "CFP"):
        legacy = inspect.signature(getattr(features, name)).parameters["legacy"]
        assert legacy.kind is inspect.Parameter.KEYWORD_ONLY
        assert legacy.default is False


@pytest.mark.parametrize("name", sorted(WRITTEN.LAYERS))
def test_what_is_written_down_is_what_nnaudio_has(name):
    layer = getattr(nnaudio("features"), name)
    assert text_of(layer.__init__) == WRITTEN.LAYERS[name]
    assert text_of(layer.forward) == WRITTEN.FORWARD[name]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_are_written_down_as_nnaudio_has_them(name):
    module, text = FUNCTIONS[name]
    theirs = nnaudio(module.__name__.rpartition(".")[2])
    assert text_of(getattr(theirs, name)) == text


def test_every_public_name_of_nnaudio_is_there():
    theirs = nnaudio("features")
    # Its submodules, and what only its own implementation imports.
    inner = {"scipy", "signal"}
    names = {name for name in dir(theirs) if not name.startswith("_")} - inner
    assert names <= set(dir(features))


@pytest.mark.parametrize("module", ["stft", "mel", "cqt", "vqt", "cfp", "gammatone", "griffin_lim"])
def test_submodules_are_importable(module):
    ours = importlib.import_module(f"sonograd.compat.nnaudio.features.{module}")
    assert all(getattr(features, name) is getattr(ours, name) for name in ours.__all__)


def test_star_imports_bring_numpy_and_torch():
    scope = {}
    exec("from sonograd.compat.nnaudio.Spectrogram import *", scope)
    assert {"np", "torch", "nn", "STFT", "CQT", "create_cqt_kernels"} <= set(scope)
