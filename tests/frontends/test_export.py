import warnings

import numpy as np
import pytest
import torch
from torch import nn

from sonograd.errors import ParameterError
from sonograd.frontends import (
    MFCC,
    STFT,
    Chroma,
    ConstantQ,
    GammatoneSpectrogram,
    MelSpectrogram,
    exportable,
)

SMALL = {"sample_rate": 8000, "n_fft": 128, "hop_length": 40}
LAYERS = {
    "magnitude": lambda: STFT(**SMALL, output="magnitude"),
    "power": lambda: STFT(**SMALL, output="power", pad_mode="reflect", freq_bins=30),
    "log": lambda: STFT(**SMALL, output="power", freq_scale="log", fmax=4000.0),
    "mel": lambda: MelSpectrogram(**SMALL, n_mels=20),
    "mel, power 1": lambda: MelSpectrogram(**SMALL, n_mels=20, power=1.0, center=False),
    "mel, trained": lambda: MelSpectrogram(
        **SMALL, n_mels=20, trainable=True, trainable_stft=True, trainable_window=True
    ),
    "mfcc": lambda: MFCC(**SMALL, n_mels=20, n_mfcc=7),
    "gammatone": lambda: GammatoneSpectrogram(**SMALL, n_bands=20),
    "chroma": lambda: Chroma(**SMALL),
}


@pytest.mark.parametrize("name", LAYERS)
def test_convolution_gives_the_same(name):
    layer = LAYERS[name]()
    x = torch.randn(2, 3, 1000)
    y, other = layer(x).detach(), exportable(layer)(x).detach()
    assert (y - other).norm() < 1e-5 * y.norm()
    assert not getattr(layer, "convolves", False)
    assert (layer(x).detach() == y).all()


def test_finds_layers_inside_networks():
    network = nn.Sequential(MelSpectrogram(**SMALL, n_mels=20), nn.BatchNorm1d(20))
    result = exportable(network)
    assert result[0].convolves
    assert not result.training
    assert network.training


@pytest.mark.parametrize("name", LAYERS)
def test_torch_export_with_dynamic_batch_and_length(name):
    layer = LAYERS[name]()
    auto = torch.export.Dim.AUTO
    program = torch.export.export(
        layer, (torch.randn(2, 1000),), dynamic_shapes=({0: auto, 1: auto},)
    )
    for shape in ((3, 801), (1, 2000)):
        x = torch.randn(shape)
        torch.testing.assert_close(program.module()(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_onnx_with_dynamic_batch_and_length(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    layer = LAYERS[name]()
    auto = torch.export.Dim.AUTO
    path = str(tmp_path / "layer.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        program = torch.onnx.export(
            exportable(layer),
            (torch.randn(2, 1000),),
            dynamo=True,
            dynamic_shapes=({0: auto, 1: auto},),
            verbose=False,
        )
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    operators = {node.op_type for node in program.model.graph}
    assert not operators & {"DFT", "STFT"}
    for shape in ((2, 1000), (3, 801), (1, 2000)):
        x = torch.randn(shape)
        (actual,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        expected = layer(x).detach().numpy()
        assert np.linalg.norm(actual - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.slow
def test_constant_q_in_onnx(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    layer = ConstantQ(sample_rate=8000, fmin=200.0, n_bins=24, method="direct", output="magnitude")
    auto = torch.export.Dim.AUTO
    path = str(tmp_path / "layer.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            exportable(layer),
            (torch.randn(2, 6000),),
            dynamo=True,
            dynamic_shapes=({0: auto, 1: auto},),
            verbose=False,
        )
    program.save(path)
    session = onnxruntime.InferenceSession(path)
    for shape in ((2, 6000), (1, 9000)):
        x = torch.randn(shape)
        (actual,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        expected = layer(x).detach().numpy()
        assert np.linalg.norm(actual - expected) < 1e-5 * np.linalg.norm(expected)


def test_what_has_no_such_form():
    with pytest.raises(ParameterError, match="output is 'complex'; only 'magnitude' and 'power'"):
        exportable(STFT(**SMALL))
    with pytest.raises(ParameterError, match="method='filters' is recursive"):
        exportable(GammatoneSpectrogram(**SMALL, method="filters"))
    with pytest.raises(ParameterError, match="use method='direct' and 'magnitude' or 'power'"):
        exportable(ConstantQ(output="magnitude"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LAYERS, "complex"])
def test_compiles(name):
    layer = LAYERS[name]() if name in LAYERS else STFT(**SMALL)
    x = torch.randn(2, 1000)
    torch.compiler.reset()  # all layers share the code of one method
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-4, atol=1e-5)
