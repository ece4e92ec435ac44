"""Write what the published separators give for random weights: ``python make_separators.py OUT``.

Each file holds ``input``, ``output_L`` for its first L samples, computed in double precision,
``state.*`` under the published names with everything random, and the arguments of the constructor
in its metadata. The originals are found as ``tests/separators/originals.py`` says.
"""

import importlib.util
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

TESTS = Path(__file__).parents[1] / "separators"


def _load(name):
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _halved(network):
    """Round weights to half precision, which weighs half, and return them with all else."""
    kinds = {name.split(".")[-1] for name, _ in network.named_parameters()} - {"window"}
    kinds |= {"running_mean", "running_var"}
    state = {
        key: tensor.half() if key.split(".")[-1] in kinds else tensor
        for key, tensor in network.state_dict().items()
    }
    network.load_state_dict(state)
    network.double()
    return state


def _save(path, state, mix, outputs, metadata):
    tensors = {"input": mix, **{f"state.{key}": x.clone() for key, x in state.items()}}
    for samples, stems in outputs.items():
        kept = stems if samples <= 1009 else stems.float()
        tensors[f"output_{samples}"] = kept.contiguous()
    save_file(tensors, path, metadata)
    print(path, path.stat().st_size)  # noqa: T201


@torch.no_grad()
def main(folder):
    cases, originals = _load("published_cases"), _load("originals")
    for name, case in cases.CASES.items():
        built = case.build(originals.original(case.module))
        originals.with_exact_phases()
        network = originals.randomize(built)
        state = _halved(network)
        longest = min(max(case.lengths), 4410)
        mix = cases.mix_of(case.channels, longest).float()
        outputs = {}
        for samples in sorted({min(length, longest) for length in case.lengths}):
            if samples <= 1009 or samples == min(case.lengths[0], 4410):
                stems = network(mix[..., :samples].double())
                outputs[samples] = stems[:, :, None] if case.name == "ConvTasNet" else stems
        metadata = {"kwargs": json.dumps(case.kwargs), "class": case.name}
        _save(Path(folder) / f"{name}.safetensors", state, mix, outputs, metadata)
    model = originals.original("openunmix.model")
    originals.with_exact_phases()
    nets = {
        target: originals.randomize(model.OpenUnmix(**cases.UMX), seed)
        for seed, target in enumerate(cases.UMX_TARGETS)
    }
    network = model.Separator(nets, niter=1, residual=True, n_fft=256, n_hop=64, wiener_win_len=20)
    state = _halved(network.eval())
    mix = cases.mix_of(2, 4095).float()
    outputs = {samples: network(mix[..., :samples].double()) for samples in (1009, 4095)}
    metadata = {"kwargs": json.dumps(cases.UMX), "class": "Separator"}
    _save(Path(folder) / "open_unmix.safetensors", state, mix, outputs, metadata)


if __name__ == "__main__":
    main(sys.argv[1])
