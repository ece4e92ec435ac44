"""Pictures and logs."""

import struct

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")
pytest.importorskip("tensorboardX")


def _events(folder):
    """Read what TensorBoard reads, as (tag, step, value)."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack("<Q", data[at : at + 8])
            event = Event()
            event.ParseFromString(data[at + 12 : at + 12 + length])
            found += [(value.tag, event.step, value) for value in event.summary.value]
            at += length + 16
    return found


ALL = (
    "tensorboard", "view_iter", "view_epoch", "view_weights", "view_grad", "view_spec", "view_wave",
    "play_estimate", "play_residual",
)  # fmt: skip


@pytest.fixture
def everything(session, run, songs):
    folder = session()
    visuals = {f"visuals.{name}": True for name in ALL} | {"visuals.image_freq": 2}
    run(folder, songs, settings=visuals | {"max_epochs": 2, "max_samples": 6, "clip_grad": True})
    return folder


def test_log_holds_what_was_asked_for(everything):
    events = _events(everything / "runs")
    tags = {tag for tag, _, _ in events}
    steps = {tag: [step for name, step, _ in events if name == tag] for tag in tags}
    assert steps["loss/iter"] == [1, 2, 3, 4, 5, 6]
    assert steps["loss/epoch"] == steps["loss/validation"] == [1, 2]
    assert steps["scores/si_sdr_vocals"] == [1, 2]
    for tag in ("spectrogram/vocals", "waveform/vocals"):
        assert steps[tag] == [2]
        (image,) = (value.image for name, _, value in events if name == tag)
        assert image.encoded_image_string[:4] == b"\x89PNG"
        assert image.width > 300
    for tag in ("estimate", "true", "residual_estimate", "residual_true"):
        (audio,) = (value.audio for name, _, value in events if name == f"vocals/{tag}")
        assert audio.sample_rate == 8000
        assert audio.length_frames == 16000
    weights = [tag for tag in tags if tag.startswith("weights/")]
    gradients = [tag for tag in tags if tag.startswith("gradients/")]
    assert weights
    assert {tag.split("/", 1)[1] for tag in gradients} <= {t.split("/", 1)[1] for t in weights}
    # Gradients are gradients: their histograms differ from those of the weights.
    histograms = {tag: value.histo for tag, step, value in events if step == 2}
    for tag in gradients[:5]:
        other = histograms[tag.replace("gradients/", "weights/")]
        assert histograms[tag].sum != other.sum


def test_losses_are_those_of_steps_where_gradients_accumulate(session, run, songs, tiny_unet):
    found = []
    for name, batch, accumulate in (("a", 4, 1), ("b", 2, 2)):
        folder = session(name, tiny_unet(dropout_p=0.0))
        settings = {"batch_size": batch, "accumulate": accumulate, "max_samples": 12}
        visuals = {"visuals.tensorboard": True, "visuals.view_iter": True}
        run(folder, songs, settings=settings | visuals)
        events = _events(folder / "runs")
        found.append([(step, v.simple_value) for tag, step, v in events if tag == "loss/iter"])
    plain, accumulated = found
    assert [step for step, _ in accumulated] == [1, 2, 3]
    assert [v for _, v in accumulated] == pytest.approx([v for _, v in plain], rel=1e-4)


def test_pictures_lie_in_their_folders(everything):
    for kind in ("spectrogram", "waveform"):
        names = [path.name for path in (everything / kind).iterdir()]
        assert names == [f"vocals_2_{kind}.png"]
        assert (everything / kind / names[0]).read_bytes()[:4] == b"\x89PNG"


def test_norms_replace_histograms(session, run, songs):
    folder = session()
    visuals = {f"visuals.{name}": True for name in ("tensorboard", "view_grad", "view_norm")}
    run(folder, songs, settings=visuals)
    values = {tag: value.simple_value for tag, _, value in _events(folder / "runs")}
    assert values
    assert all(tag.startswith("norm/gradients/") for tag in values)
    assert all(np.isfinite(value) and value >= 0 for value in values.values())


def test_pictures_need_no_tensorboard(session, run, songs):
    folder = session()
    run(folder, songs, settings={"visuals.view_spec": True, "visuals.image_freq": 1})
    assert [path.name for path in (folder / "spectrogram").iterdir()] == [
        "vocals_1_spectrogram.png"
    ]
    assert not (folder / "runs").exists()
    assert not (folder / "waveform").exists()


def test_resumed_logs_go_on(session, run, songs):
    folder = session()
    visuals = {"visuals.tensorboard": True, "visuals.view_iter": True}
    run(folder, songs, settings=visuals)
    run(folder, songs, settings=visuals | {"max_epochs": 2}, resume=True)
    steps = [step for tag, step, _ in _events(folder / "runs") if tag == "loss/iter"]
    assert steps == [1, 2, 3, 4]
