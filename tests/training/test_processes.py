"""Several processes, and several machines, train as one does."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from sonograd.training.state import read_state

pytest.importorskip("lightning")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
OPTIONS = [
    "--device", "cpu", "--precision", "32", "--batch-size", "4", "--max-samples", "12",
    "--max-epochs", "2", "--num-workers", "0", "--lr", "0.002", "--validation-songs", "2",
    "--ema", "0.5", "--schedule", "constant",
]  # fmt: skip


def _command(folder, songs, *more):
    return ["train", str(folder), str(songs), *OPTIONS, *more]


def _run(command, **variables):
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen(
        [sys.executable, "-m", *command], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _finish(*processes):
    results = [process.communicate(timeout=900) for process in processes]
    for process, (_, errors) in zip(processes, results, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return results


def _assert_same(ours, theirs):
    first, second = (read_state(folder / "checkpoint.pth") for folder in (ours, theirs))
    assert first.step == second.step == 6
    for name, value in first.model.items():
        torch.testing.assert_close(second.model[name], value, atol=2e-4, rtol=1e-3)
    rows = [(folder / "log.csv").read_text().splitlines() for folder in (ours, theirs)]
    header = rows[0][0].split(",")
    for a, b in zip(*(table[1:] for table in rows), strict=True):
        for name, x, y in zip(header, a.split(","), b.split(","), strict=True):
            if name in ("loss", "validation_loss", "sdr"):
                assert float(x) == pytest.approx(float(y), abs=0.02)


@pytest.mark.parametrize("criterion", ["l1", "si_sdr"])
def test_two_processes_train_as_one(session, songs, tiny_unet, criterion):
    config = tiny_unet(dropout_p=0.0)
    one, two = session("one", config), session("two", config)
    (alone,) = _finish(_run(["sonograd", *_command(one, songs, "--criterion", criterion)]))
    (both,) = _finish(
        _run(["sonograd", *_command(two, songs, "--criterion", criterion, "--devices", "2")])
    )
    assert len(alone[0].splitlines()) == len(both[0].splitlines()) == 1
    _assert_same(one, two)


def test_two_nodes_train_as_one(session, songs, tiny_unet):
    config = tiny_unet(dropout_p=0.0)
    one, two = session("one", config), session("two", config)
    _finish(_run(["sonograd", *_command(one, songs)]))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    nodes = [
        _run(
            ["torch.distributed.run", "--nnodes", "2", "--node-rank", str(rank),
             "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port),
             "-m", "sonograd", *_command(two, songs, "--num-nodes", "2")]
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = _finish(*nodes)
    assert sum("weights.safetensors" in text for text, _ in outputs) == 1
    assert (two / "trainer.json").exists()
    _assert_same(one, two)
