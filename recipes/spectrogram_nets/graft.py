"""Start a network from another one: ``python recipes/spectrogram_nets/graft.py TRAINED NEW``.

Weights of the session folder TRAINED that the network of NEW has, too, by name and shape, become
its first ones; the others are drawn. Of a recurrent network, a variational one takes the encoder
as the mean of its latent, so that both compute the same at first.
"""

import argparse
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from sonograd.config import SeparatorConfig, read_config
from sonograd.separators import build_separator, load_separator, save_separator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trained", type=Path, help="session folder with weights")
    parser.add_argument("new", type=Path, help="session folder with a model.json")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    weights = load_separator(arguments.trained / "weights.safetensors").state_dict()
    config = read_config(
        arguments.new / "model.json", cast("type[SeparatorConfig]", SeparatorConfig)
    )
    separator = build_separator(config)
    state = separator.state_dict()
    found = {**weights, **_latent(weights, state)}
    taken = {k: v for k, v in found.items() if k in state and state[k].shape == v.shape}
    separator.load_state_dict(state | taken)
    save_separator(separator, arguments.new / "weights.safetensors")
    print(f"{len(taken)} of {len(state)} tensors come from {arguments.trained}")


def _latent(weights: dict[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder of a recurrent network as that of a variational one."""
    encode = "unet.bottleneck.encode"
    old, new = f"{encode}.projection.0", f"{encode}.mean"
    if f"{old}.weight" not in weights or f"{new}.weight" not in state:
        return {}
    return {
        f"{new}.weight": weights[f"{old}.weight"],
        f"{new}.bias": weights[f"{old}.bias"],
        f"{old}.weight": torch.eye(len(weights[f"{old}.bias"])),
        f"{old}.bias": torch.zeros_like(weights[f"{old}.bias"]),
    }


if __name__ == "__main__":
    main()
