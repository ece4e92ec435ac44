"""Put the weights of a training run into the package: ``python recipes/ship.py RUN [NAME]``.

They are stored as float16 with their model card in the metadata, and their hash goes into
``registry.json``.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch

from sonograd.separators import load_separator, save_separator

ZOO = Path(__file__).parents[1] / "src" / "sonograd" / "zoo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="session folder")
    parser.add_argument("name", nargs="?", default="default")
    arguments = parser.parse_args()
    card = {
        "license": "MIT",
        "data": "synthetic songs only (sonograd songs)",
        "card": "docs/default-model.md",
    }
    separator = load_separator(arguments.run / "weights.safetensors")
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
