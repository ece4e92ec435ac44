"""Values of the reference implementations, and what they were computed from."""

import json
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / "golden"
RVM = json.loads((FOLDER / "rvm.json").read_text())["cases"]
SEPARATION = json.loads((FOLDER / "separation.json").read_text())["values"]


def rvm_pair(case, dtype=torch.float32):
    """Return estimate and ground truth of a case."""
    stored = np.load(FOLDER / "rvm_inputs.npz")
    names = RVM[case]["inputs"]
    return [torch.from_numpy(stored[names[kind]]).to(dtype) for kind in ("est", "gt")]


def separation_pair(dtype=torch.float64):
    """Return estimate and reference ``(3, 2, 24000)`` at 8000 Hz."""
    stored = np.load(FOLDER / "separation_inputs.npz")
    return [torch.from_numpy(stored[name]).mT.to(dtype) for name in ("est", "ref")]


def array(value):
    """Return nested lists with "nan" and "inf" as an array."""
    if isinstance(value, list):
        return np.array([array(entry) for entry in value])
    return np.float64(value)
