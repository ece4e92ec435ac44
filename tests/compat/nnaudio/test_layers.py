"""Layers under nnAudio's names: equal to it where it is right, right where it is not."""

import contextlib
import importlib
import io
import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sonograd.compat.nnaudio import features, utils
from sonograd.compat.nnaudio.v1 import Spectrogram as FirstRelease
from sonograd.errors import ParameterError, ShapeError

RATE = 8000
SHORT = {"sr": RATE, "fmin": 110.0, "n_bins": 36, "hop_length": 128}
SEED_DOCUMENT = Path(__file__).parents[3] / "../shared/seeds/002_a503c5e3c9dd92a2.txt"


@pytest.fixture(scope="module")
def theirs():
    pytest.importorskip("nnAudio")
    signal = importlib.import_module("scipy.signal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("nnAudio.features")
    # The name that it uses for this window is gone from SciPy.
    if not hasattr(signal, "blackmanharris"):
        signal.blackmanharris = signal.windows.blackmanharris
    return module


@pytest.fixture(scope="module")
def noise():
    return torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))


def make(module, name, **options):
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(module, name)(**options)


def error(a, b):
    assert a.shape == b.shape
    return float((a - b).detach().norm() / b.detach().norm())


def cosine(hz, samples, rate):
    return torch.cos(2 * math.pi * hz * torch.arange(samples, dtype=torch.float64) / rate).float()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("STFT", {"n_fft": 512}),
        ("STFT", {"n_fft": 512, "output_format": "Magnitude", "center": False}),
        ("STFT", {"n_fft": 512, "win_length": 300, "window": "hamming", "pad_mode": "constant"}),
        ("STFT", {"n_fft": 512, "freq_bins": 100}),
        ("STFT", {"n_fft": 512, "freq_scale": "linear", "freq_bins": 80, "fmax": 3000, "sr": RATE}),
        ("STFT", {"n_fft": 512, "freq_scale": "log", "freq_bins": 80, "fmax": 3000, "sr": RATE}),
        ("STFT", {"n_fft": 512, "freq_scale": "log2", "freq_bins": 80, "fmax": 3000, "sr": RATE}),
        ("STFT", {"n_fft": 256, "trainable": True, "output_format": "Magnitude"}),
        ("MelSpectrogram", {"n_fft": 512, "n_mels": 40}),
        ("MelSpectrogram", {"n_fft": 512, "n_mels": 40, "htk": True, "power": 1.0, "norm": None}),
        ("MelSpectrogram", {"n_fft": 512, "n_mels": 40, "trainable_mel": True}),
        ("MelSpectrogram", {"n_fft": 256, "n_mels": 20, "trainable_STFT": True}),
        ("MFCC", {"n_fft": 512, "n_mels": 40}),
        ("MFCC", {"n_fft": 512, "n_mels": 40, "n_mfcc": 13, "top_db": None, "ref": 2.0}),
        ("Gammatonegram", {"n_fft": 512, "n_bins": 32}),
        ("Gammatonegram", {"n_fft": 512, "n_bins": 32, "trainable_bins": True, "power": 1.0}),
        ("CQT", SHORT),
        ("CQT1992v2", {**SHORT, "output_format": "Complex", "hop_length": 100}),
        ("CQT1992v2", {**SHORT, "center": False, "pad_mode": "constant", "norm": 2}),
        ("CQT1992v2", {**SHORT, "window": ("gaussian", 60.0), "bins_per_octave": 24}),
        ("CQT1992v2", {**SHORT, "trainable": True}),
        ("CFP", {"fs": RATE, "window_size": 1025, "legacy": True}),
    ],
)
def test_results_are_those_of_nnaudio(theirs, noise, name, options):
    ours = make(features, name, **options)
    other = make(theirs, name, **{k: v for k, v in options.items() if k != "legacy"})
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert error(ours(noise), other(noise.clone())) < 5e-6


@pytest.mark.parametrize("name", ["CQT1992", "CQT1992v2", "CQT2010", "CQT2010v2", "VQT"])
@pytest.mark.parametrize("normalization", ["librosa", "convolutional", "wrap"])
@pytest.mark.parametrize("output", ["Magnitude", "Complex"])
def test_legacy_has_the_results_of_nnaudio(theirs, noise, name, normalization, output):
    # Two octaves from 110 Hz at 8 kHz: decimated early, by two.
    options = {"sr": RATE, "fmin": 110.0, "n_bins": 24, "hop_length": 64}
    ours = make(features, name, **options, legacy=True)
    other = make(theirs, name, **options)
    with torch.no_grad():
        a, b = (layer(noise.clone(), output, normalization) for layer in (ours, other))
    assert error(a, b) < 1e-6
    if "2010" in name or name == "VQT":
        assert (ours.downsample_factor, ours.hop_length) == (2, other.hop_length)


@pytest.mark.parametrize("name", ["CQT1992", "CQT1992v2", "CQT2010", "CQT2010v2", "VQT"])
def test_all_constant_q_layers_are_one_transform(noise, name):
    options = {"sr": RATE, "fmin": 110.0, "n_bins": 30, "hop_length": 64}
    expected = features.CQT1992v2(**options)(noise, "Complex")
    assert error(getattr(features, name)(**options)(noise, "Complex"), expected) < 1e-6


@pytest.mark.parametrize("rate", [22050, 44100])
@pytest.mark.parametrize(
    ("normalization", "level"), [("librosa", None), ("convolutional", 0.5), ("wrap", 1.0)]
)
def test_a_sinusoid_has_its_level_at_any_rate(rate, normalization, level):
    # nnAudio's levels are wrong here by the root of its early decimation, or more.
    x = cosine(65.4, rate, rate)
    for name in ("CQT2010v2", "VQT"):
        layer = getattr(features, name)(sr=rate, fmin=65.4 / 2, n_bins=24)
        y = layer(x, normalization_type=normalization)[0, :, y_middle(rate)]
        assert int(y.argmax()) == 12
        length = math.ceil(16.817 * rate / 65.4)
        expected = math.sqrt(length) / 2 if level is None else level
        assert float(y[12]) == pytest.approx(expected, rel=1e-2)


def y_middle(rate):
    return rate // 1024


def test_a_transform_is_its_definition():
    layer = features.CQT1992v2(**SHORT, output_format="Complex", pad_mode="constant")
    x = torch.randn(3000, generator=torch.Generator().manual_seed(2))
    y = torch.view_as_complex(layer(x)[0])
    q = 1 / (2 ** (1 / 12) - 1)
    padded = np.pad(x.double().numpy(), 4000)
    for k, t in [(0, 0), (0, 9), (7, 12), (20, 3), (35, 23)]:
        hz = 110 * 2 ** (k / 12)
        length = math.ceil(q * RATE / hz)
        n = np.arange(length) - (length + 1) // 2
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
        atom = window * np.exp(2j * np.pi * hz / RATE * n) / window.sum()
        value = math.sqrt(length) * (atom.conj() * padded[4000 + 128 * t + n]).sum()
        assert complex(y[k, t]) == pytest.approx(value, abs=1e-5 * math.sqrt(length))


@pytest.mark.parametrize("name", ["CQT2010v2", "VQT", "CQT2010"])
@pytest.mark.parametrize("hop_length", [100, 147, 441])
def test_trained_octaves_begin_with_the_transform_at_any_hop(noise, name, hop_length):
    options = {"sr": RATE, "fmin": 110.0, "n_bins": 36, "hop_length": hop_length}
    trained = {"trainable_CQT": True} if name == "CQT2010" else {"trainable": True}
    layer = getattr(features, name)(**options, **trained)
    y = layer(noise, "Complex")
    # Lengths of atoms are rounded at the rate of their octave.
    assert error(y, getattr(features, name)(**options)(noise, "Complex")) < 0.05
    y.square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in layer.parameters())
    assert len(list(layer.parameters())) == (6 if name == "VQT" else 2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("STFT", {"n_fft": 256, "output_format": "Magnitude"}),
        ("STFT", {"n_fft": 256, "output_format": "Magnitude", "trainable": True}),
        ("MelSpectrogram", {"n_fft": 256, "n_mels": 20}),
        ("MelSpectrogram", {"n_fft": 256, "n_mels": 20, "trainable_mel": True, "power": 0.5}),
        ("MFCC", {"n_fft": 256, "n_mels": 20}),
        ("Gammatonegram", {"n_fft": 256, "n_bins": 20}),
        ("CQT1992v2", SHORT),
        ("CQT1992v2", {**SHORT, "trainable": True}),
        ("CQT2010v2", SHORT),
        ("VQT", {**SHORT, "gamma": 5}),
        ("CFP", {"fs": RATE, "window_size": 513}),
    ],
)
def test_gradients_are_finite_on_silence(name, options):
    x = torch.zeros(1, 2000, requires_grad=True)
    getattr(features, name)(**options)(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", ["STFT", "MelSpectrogram", "CQT1992v2", "CQT2010v2", "VQT"])
@pytest.mark.parametrize("samples", [1, 100, 700])
def test_short_clips_have_frames(name, samples):
    y = getattr(features, name)(hop_length=128)(torch.rand(samples))
    assert y.shape[2] == 1 + samples // 128
    assert y.isfinite().all()


def test_shapes_are_those_of_nnaudio(noise):
    layer = features.CQT(**SHORT)
    one = layer(noise[0])
    assert one.shape == (1, 36, 32)
    assert torch.equal(layer(noise[:1, None]), one)
    stereo = layer(noise[None])
    assert stereo.shape == (1, 2, 36, 32)
    torch.testing.assert_close(stereo[0, 0], one[0])
    assert layer(noise, "Phase").shape == (2, 36, 32, 2)
    assert layer(noise.double()).dtype == torch.float64


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_inverse_of_other_scales_is_right_or_refused(noise, scale):
    layer = features.STFT(
        n_fft=256, hop_length=64, freq_scale=scale, freq_bins=300, fmin=0.5, fmax=4000, sr=RATE,
        iSTFT=True,
    )  # fmt: skip
    try:
        x = layer.inverse(layer(noise), length=4000)
    except ParameterError:
        return
    assert error(x, noise) < 1e-2


@pytest.mark.parametrize("win_length", [None, 300])
def test_inverse_restores_signals(noise, win_length):
    layer = features.STFT(n_fft=512, win_length=win_length, hop_length=64, iSTFT=True)
    spectrum = layer(noise)
    assert error(layer.inverse(spectrum, length=4000), noise) < 1e-6
    inverse = features.iSTFT(n_fft=512, win_length=win_length, hop_length=64)
    x = inverse(spectrum, onesided=True, length=4000)
    assert x.dtype == torch.float32
    assert error(x, noise) < 1e-6
    both = utils.extend_fbins(spectrum)
    assert error(inverse(both, length=4000), noise) < 1e-6
    trained = features.iSTFT(
        n_fft=512, win_length=win_length, hop_length=64, trainable_kernels=True,
        trainable_window=True,
    )  # fmt: skip
    assert error(trained(spectrum, onesided=True, length=4000), noise) < 1e-5
    trained(spectrum, onesided=True).sum().backward()
    assert all(p.grad.isfinite().all() for p in trained.parameters())


def test_griffin_lim_finds_magnitudes(noise):
    stft = features.STFT(n_fft=256, output_format="Magnitude")
    layer = features.Griffin_Lim(256, n_iter=30)
    torch.manual_seed(0)
    found = layer(stft(noise))
    assert error(stft(found), stft(noise)) < 0.25
    assert not torch.equal(layer(stft(noise)), found)
    torch.manual_seed(0)
    assert torch.equal(layer(stft(noise)), found)


@pytest.mark.parametrize(
    ("name", "options", "attributes"),
    [
        ("STFT", {"n_fft": 256}, "bins2freq bin_list wsin wcos window_mask stride n_fft"),
        ("MelSpectrogram", {"n_fft": 256, "n_mels": 20}, "mel_basis stride n_fft power"),
        ("MFCC", {"n_fft": 256, "n_mels": 20}, "n_mfcc m_mfcc top_db amin ref"),
        ("Gammatonegram", {"n_fft": 256, "n_bins": 20}, "gammatone_basis stride"),
        ("CQT1992v2", SHORT, "lenghts frequencies kernel_width cqt_kernels_real cqt_kernels_imag"),
        ("CQT1992", SHORT, "lenghts frequencies kernel_width wsin wcos cqt_kernels_real"),
        ("CQT2010v2", SHORT, "frequencies n_fft n_octaves fmin_t basis cqt_kernels_imag"),
        ("CQT2010", SHORT, "frequencies n_fft n_octaves fmin_t wcos cqt_kernels_imag"),
        ("VQT", {**SHORT, "earlydownsample": False}, "lenghts n_octaves cqt_kernels_real_2 n_fft"),
        ("CFP", {"legacy": True}, "f q N h tc_idx fc_idx freq2logfreq_matrix quef2logfreq_matrix"),
        ("Griffin_Lim", {"n_fft": 256}, "w hop_length win_length n_iter momentum"),
    ],
)
def test_attributes_are_those_of_nnaudio(theirs, name, options, attributes):
    ours = make(features, name, **options)
    other = make(theirs, name, **{k: v for k, v in options.items() if k != "legacy"})
    for attribute in attributes.split():
        a, b = getattr(ours, attribute), getattr(other, attribute)
        if isinstance(b, torch.Tensor):
            torch.testing.assert_close(a, b.to(a.dtype), rtol=1e-5, atol=1e-6, msg=attribute)
        else:
            np.testing.assert_allclose(a, b, err_msg=attribute)


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("STFT", {"n_fft": 256, "iSTFT": True}, []),
        ("STFT", {"n_fft": 256, "trainable": True}, ["wcos", "wsin"]),
        ("MelSpectrogram", {"n_fft": 256, "n_mels": 20}, []),
        ("MelSpectrogram", {"n_fft": 256, "n_mels": 20, "trainable_mel": True}, ["mel_basis"]),
        ("MFCC", {"n_fft": 256, "n_mels": 20}, []),
        ("CQT1992v2", SHORT, []),
        ("CQT1992", SHORT, []),
        ("CQT2010v2", SHORT, []),
        ("CQT2010v2", {**SHORT, "trainable": True}, ["cqt_kernels_imag", "cqt_kernels_real"]),
        ("VQT", {**SHORT, "earlydownsample": False}, []),
    ],
)
def test_state_dicts_of_nnaudio_load(theirs, noise, name, options, parameters):
    other = make(theirs, name, **options)
    for parameter in other.parameters():
        parameter.data *= 1.1
    ours = make(features, name, **options)
    assert sorted(ours.state_dict()) == parameters
    model = nn.Sequential(ours)
    model.load_state_dict({f"0.{key}": value for key, value in other.state_dict().items()})
    if name not in {"CQT2010v2", "VQT"}:  # they are not the same
        with torch.no_grad():
            assert error(model(noise), other(noise.clone())) < 1e-4


def test_a_state_dict_that_would_have_no_effect_is_refused():
    trained = features.STFT(n_fft=256, trainable=True)
    with pytest.raises(RuntimeError, match="wsin is not the fixed kernel of this layer"):
        features.STFT(n_fft=256).load_state_dict(
            {key: 2 * value.detach() for key, value in trained.state_dict().items()}
        )


def seed_blocks():
    if not SEED_DOCUMENT.exists():
        pytest.skip("the seed document is not here")
    text = SEED_DOCUMENT.read_text()
    first = text[text.index("from nnAudio import Spectrogram") : text.index("On-the-fly audio")]
    first = first[: first.rindex("spec_layer(x)") + len("spec_layer(x)")]
    second = text[text.index("class Model(torch.nn.Module)") : text.index("Using GPU")]
    # Two of its lines are marked as added, one with a space less.
    return first, re.sub(r"^\+ {7,8}(?=\w)", " " * 8, second, flags=re.MULTILINE)


@pytest.mark.parametrize("module", ["sonograd.compat.nnaudio", "sonograd.compat.nnaudio.v1"])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_the_code_of_the_seed_document_runs(tmp_path, monkeypatch, module, device):
    wavfile = pytest.importorskip("scipy.io.wavfile")
    first, second = seed_blocks()
    monkeypatch.chdir(tmp_path)
    song = (3000 * np.sin(np.arange(44100)[:, None] * [0.05, 0.06])).astype(np.int16)
    wavfile.write("Bach.wav", 44100, song)
    scope = {"nn": nn, "n_fft": 1024, "freq_bins": 256, "regions": 5, "m": 88, "epsilon": 1e-5}
    try:
        torch.set_default_device(device)
        exec(first.replace("from nnAudio import", f"from {module} import"), scope)
        shape = (1, 1025, 87)
        assert scope["spec"].shape == (shape if module.endswith("v1") else (*shape, 2))
        if module.endswith("v1"):  # the layer of this block gives magnitudes
            exec(second, scope)
            model = scope["Model"]()
            out = model(torch.rand(2, 4 * 512))
            assert out.shape == (2, 88)
            out.sum().backward()
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("STFT", {"n_fft": 256, "freq_scale": "log", "freq_bins": 64, "sr": RATE, "fmax": 3000}),
        ("STFT", {"n_fft": 256, "trainable": True, "iSTFT": True}),
        ("iSTFT", {"n_fft": 256}),
        ("MelSpectrogram", {"n_fft": 256, "n_mels": 20}),
        ("MFCC", {"n_fft": 256, "n_mels": 20}),
        ("Gammatonegram", {"n_fft": 256, "n_bins": 20}),
        ("CQT1992", SHORT),
        ("CQT1992v2", SHORT),
        ("CQT2010", {**SHORT, "trainable_CQT": True}),
        ("CQT2010v2", SHORT),
        ("VQT", {**SHORT, "trainable": True}),
        ("CFP", {}),
        ("Griffin_Lim", {"n_fft": 256, "device": "meta"}),
    ],
)
def test_layers_lie_on_the_default_device(name, options):
    try:
        torch.set_default_device("meta")
        layer = getattr(features, name)(**options)
    finally:
        torch.set_default_device(None)
    tensors = [*layer.parameters(), *layer.buffers()]
    assert tensors
    assert {tensor.device.type for tensor in tensors} == {"meta"}


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: features.STFT(freq_scale="bark"), "freq_scale is 'bark'; expected"),
        (lambda: features.STFT(output_format="complex"), "output_format is 'complex'"),
        (lambda: features.STFT(pad_mode="mirror"), "pad_mode is 'mirror'"),
        (lambda: features.STFT(window="hat"), "window is 'hat'"),
        (lambda: features.STFT(n_fft=256).inverse(torch.zeros(1, 129, 4, 2)), "iSTFT is False"),
        (lambda: features.STFT(n_fft=256)(torch.zeros(500), "Power"), "output_format is 'Power'"),
        (lambda: features.CQT1992v2(fmin=220), "above the Nyquist .* at most 68 n_bins"),
        (FirstRelease.CQT2010v2, "above the Nyquist .* at most 68 n_bins"),
        (lambda: features.CQT2010v2(n_bins=0), "n_bins is 0"),
        (
            lambda: features.CQT(**SHORT)(torch.zeros(99), None, "max"),
            "normalization_type is 'max'",
        ),
        (lambda: features.MelSpectrogram(norm=2), "norm is 2; expected"),
        (lambda: features.MelSpectrogram(fmax=20_000.0), "fmax is 20000"),
        (lambda: features.MFCC(norm="forward"), "norm is 'forward'"),
        (lambda: features.iSTFT(freq_scale="log"), "freq_scale is 'log'; expected 'no'"),
    ],
)
def test_wrong_options_are_named(build, match):
    with pytest.raises(ParameterError, match=match):
        build()


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (torch.zeros(2, 2, 2, 500), "expected \\(samples,\\), \\(batch, samples\\)"),
        (torch.zeros(500, dtype=torch.int16), "real floating-point"),
        (torch.zeros(500, dtype=torch.complex64), "real floating-point"),
    ],
)
def test_wrong_signals_are_named(x, match):
    with pytest.raises(ShapeError, match=match):
        features.CQT(**SHORT)(x)


def test_construction_prints_nothing(capsys):
    features.STFT(n_fft=256, verbose=True)
    features.CQT2010v2(**SHORT, verbose=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("STFT", {"n_fft": 256}),
        ("STFT", {"n_fft": 256, "trainable": True, "output_format": "Magnitude"}),
        ("MelSpectrogram", {"n_fft": 256, "n_mels": 20}),
        ("MFCC", {"n_fft": 256, "n_mels": 20}),
        ("Gammatonegram", {"n_fft": 256, "n_bins": 20}),
        ("CQT1992v2", SHORT),
        ("CQT2010v2", SHORT),
        ("VQT", SHORT),
    ],
)
def test_compiled_equals_eager(name, options):
    torch.compiler.reset()
    layer = getattr(features, name)(**options)
    compiled = torch.compile(layer, backend="aot_eager")
    for samples in (4000, 5001):
        x = torch.randn(2, samples)
        torch.testing.assert_close(compiled(x), layer(x), rtol=1e-3, atol=1e-4)


def test_silence_has_the_phase_of_one():
    x = torch.cat([torch.zeros(2000), torch.randn(2000)])
    assert (features.STFT(n_fft=256, output_format="Phase")(x)[..., :20] == 0).all()
