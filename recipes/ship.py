"""Put the weights of a training run into the package: ``python recipes/ship.py RUN [NAME]``.

They are stored as float16 with their model card in the metadata, and their hash goes into
``registry.json``. ``--set`` changes settings that no weight depends on.
"""

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch

from sonograd.cli.settings import parse_changes
from sonograd.separators import load_separator, read_checkpoint_info, save_separator

ZOO = Path(__file__).parents[1] / "src" / "sonograd" / "zoo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="session folder")
    parser.add_argument("name", nargs="?", default="default")
    parser.add_argument("--card", default="docs/default-model.md", help="page about the model")
    parser.add_argument("--set", action="append", help="a setting as key=value")
    arguments = parser.parse_args()
    card = {
        "license": "MIT",
        "data": "synthetic songs only (sonograd songs)",
        "card": arguments.card,
    }
    weights = arguments.run / "weights.safetensors"
    config = replace(read_checkpoint_info(weights).config, **parse_changes(arguments.set))
    separator = load_separator(weights, config=config)
    path = ZOO / "weights" / f"{arguments.name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_separator(separator, path, metadata=card, dtype=torch.float16)
    registry = ZOO / "registry.json"
    entries = json.loads(registry.read_text()) if registry.exists() else {}
    entries[arguments.name] = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **card,
    }
    registry.write_text(json.dumps(entries, indent=2) + "\n")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
