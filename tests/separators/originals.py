"""The published implementations, where they are installed, and weights that hide nothing.

They are looked for among the installed packages, then in the folder that the environment variable
``SONOGRAD_ORIGINALS`` names (``pip install --no-deps --target FOLDER openunmix demucs asteroid
asteroid-filterbanks julius einops omegaconf huggingface-hub``).
"""

import importlib
import importlib.machinery
import os
import sys
import types

import pytest
import torch


def original(name):
    """Import a module of a published implementation, or skip the test."""
    folder = os.environ.get("SONOGRAD_ORIGINALS")
    if folder and folder not in sys.path:
        sys.path.append(folder)
    for absent in ("torchaudio", "torchaudio.transforms"):  # only needed to read files
        if absent not in sys.modules:
            stub = types.ModuleType(absent)
            stub.__spec__ = importlib.machinery.ModuleSpec(absent, None)
            stub.__path__ = []
            sys.modules[absent] = stub
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.showwarning", lambda *args, **kwargs: None)
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return importlib.import_module(name)
            except ImportError as error:
                pytest.skip(f"{name} is not installed: {error}")


def with_exact_phases():
    """Let the originals take phases in full precision.

    Their own arc tangent rounds pi to single precision, and writes into the spectrum of the mix.
    """
    for name in ("openunmix.filtering", "demucs.wiener"):
        if name in sys.modules:
            sys.modules[name].atan2 = torch.atan2


def randomize(network, seed=0):
    """Draw every weight and statistic anew, so that none has a value that hides an error."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like):
        return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like.dtype)

    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if not tensor.is_floating_point() or "window" in name or "sample_rate" in name:
                continue
            if name.endswith(("running_var", "input_scale")):
                tensor.copy_(0.5 + normal(tensor).abs())
            elif tensor.ndim > 1:
                tensor.copy_(normal(tensor) / tensor[0].numel() ** 0.5)
            elif tensor.ndim == 1 and name.endswith(("weight", "scale", "gamma")):
                tensor.copy_(1 + 0.3 * normal(tensor))
            else:
                tensor.copy_(0.2 * normal(tensor))
    return network.eval()
