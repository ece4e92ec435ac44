import runpy
from pathlib import Path

import pytest
import torch

from sonograd.errors import ParameterError
from sonograd.separators import (
    BandSplitRoFormer,
    CenterExtraction,
    ConvTasNet,
    Demucs,
    HTDemucs,
    HybridDemucs,
    MelBandRoFormer,
    OpenUnmix,
    SCNet,
)
from sonograd.separators.export import Core, export_core

TINY = runpy.run_path(str(Path(__file__).with_name("tiny.py")))["TINY"]
MODELS = [
    BandSplitRoFormer,
    ConvTasNet,
    Demucs,
    HTDemucs,
    HybridDemucs,
    MelBandRoFormer,
    OpenUnmix,
    SCNet,
]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a graph of a thousand nodes is simplified again and again
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
def test_graphs_take_batches_of_any_size(kind, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    separator = TINY[kind]().eval()
    with torch.no_grad():
        for parameter in separator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    path = tmp_path / "core.onnx"
    export_core(separator, path)
    session = runtime.InferenceSession(path)
    for batch in (1, 2, 3):
        mix = torch.randn(batch, separator.channels, separator.plan.input_length)
        with torch.no_grad():
            inputs = separator.core_inputs(mix)
            expected = separator.core(*inputs)
        names = [node.name for node in session.get_inputs()]
        results = session.run(
            None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        )
        expected = expected if isinstance(expected, tuple) else (expected,)
        assert len(results) == len(expected)
        for actual, wanted in zip(results, expected, strict=True):
            error = (torch.from_numpy(actual) - wanted).norm() / wanted.norm()
            assert error < 1e-5


def test_the_core_is_the_network():
    separator = TINY[ConvTasNet]().eval()
    mix = torch.randn(2, 1, 400)
    with torch.no_grad():
        assert torch.equal(Core(separator)(mix), separator(mix))


def test_what_cannot_be_exported_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="CenterExtraction has no network"):
        Core(CenterExtraction(sample_rate=1000, channels=2))
    with pytest.raises(ParameterError, match=r"expected a name that ends in \.onnx"):
        export_core(TINY[ConvTasNet](), tmp_path / "core.pt")
