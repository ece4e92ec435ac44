"""Songs on disk, and how others read random chunks of them."""

import importlib.util
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

RATE = 44_100
CHUNK = 3 * RATE
STEMS = ("drums", "bass", "other", "vocals")
TRACK_SECONDS = 30


def sound(seed: int, seconds: int = TRACK_SECONDS) -> np.ndarray:
    """Return stereo that is neither silent nor constant, ``(samples, 2)``."""
    time_axis = np.arange(seconds * RATE) / RATE
    rng = np.random.default_rng(seed)
    tone = 0.15 * np.sin(2 * np.pi * rng.uniform(80, 800) * time_axis)
    tone *= 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.1, 4) * time_axis)
    noise = 0.02 * rng.standard_normal((len(tone), 2))
    return (tone[:, None] + noise).astype(np.float32)


def write_songs(root: Path, count: int, suffix: str) -> None:
    for song in range(count):
        folder = root / f"song {song}"
        folder.mkdir(parents=True)
        for number, stem in enumerate(STEMS):
            path = folder / f"{stem}{suffix}"
            soundfile.write(path, sound(10 * song + number), RATE, subtype="PCM_16")


def write_stem_files(root: Path, count: int) -> None:
    import av

    root.mkdir(parents=True)
    for song in range(count):
        stems = [sound(10 * song + number) for number in range(4)]
        stems.insert(0, np.sum(stems, axis=0))
        with av.open(str(root / f"{song}.stem.mp4"), "w", format="mp4") as container:
            streams = [container.add_stream("aac", rate=RATE, layout="stereo") for _ in stems]
            for start in range(0, len(stems[0]), 1024):
                for stream, audio in zip(streams, stems, strict=True):
                    block = np.ascontiguousarray(audio[start : start + 1024].T)
                    frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                    frame.sample_rate, frame.pts = RATE, start
                    container.mux(stream.encode(frame))
            for stream in streams:
                container.mux(stream.encode(None))


def processor_seconds() -> float:
    """Return processor time of this process, and of those it has started and waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def alternate(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the least processor time of each, run in turns, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            start = processor_seconds()
            work()
            times[name].append(processor_seconds() - start)
    return {name: min(found) for name, found in times.items()}


class Places:
    """The same random places for everybody."""

    def __init__(self, songs: int, count: int) -> None:
        rng = np.random.default_rng(0)
        self.places = [
            (int(rng.integers(songs)), int(rng.integers((TRACK_SECONDS - 3) * RATE)))
            for _ in range(count)
        ]

    def run(self, read: Callable[[int, int], object]) -> None:
        for song, start in self.places:
            read(song, start)


def ours(root: Path, **options: object) -> Callable[[int, int], object]:
    from sonograd.data import StemFolder

    folder = StemFolder(root, STEMS, **options)
    return lambda song, start: [folder.read(song, k, start, CHUNK) for k in range(4)]


def soundfile_reads(root: Path, suffix: str) -> Callable[[int, int], object]:
    """Open a file per chunk and stem, seek, read, and lay channels out as torch wants them."""

    def read(song: int, start: int) -> list[np.ndarray]:
        found = []
        for stem in STEMS:
            with soundfile.SoundFile(root / f"song {song}" / f"{stem}{suffix}") as file:
                file.seek(start)
                data = file.read(CHUNK, dtype="float32", always_2d=True)
            found.append(np.ascontiguousarray(data.T))
        return found

    return read


def stempeg_reads(root: Path) -> tuple[str, Callable[[int, int], object]]:
    """Read as musdb does, by stempeg; without an ffmpeg program, decode whole stems by PyAV."""
    program = os.environ.get("FFMPEG") or shutil.which("ffmpeg")
    if program and importlib.util.find_spec("stempeg"):
        note = _prepare_stempeg(program)
        import stempeg

        known = {path: stempeg.Info(str(path)) for path in root.glob("*.stem.mp4")}

        def read(song: int, start: int) -> object:
            path = root / f"{song}.stem.mp4"
            return stempeg.read_stems(
                str(path), start=start / RATE, duration=3.0, stem_id=[1, 2, 3, 4],
                info=known[path], multiprocess=False,
            )[0]  # fmt: skip

        return f"stempeg, as musdb calls it, in one process{note}", read
    import av

    def decode(song: int, start: int) -> object:
        stems = []
        for number in range(1, 5):
            with av.open(str(root / f"{song}.stem.mp4")) as container:
                stream = container.streams.audio[number]
                frames = [frame.to_ndarray() for frame in container.decode(stream)]
            stems.append(np.concatenate(frames, axis=1)[:, start : start + CHUNK])
        return stems

    return "whole stem decoded per chunk, PyAV (no ffmpeg program here for stempeg)", decode


def _prepare_stempeg(program: str) -> str:
    """Let stempeg find an ffmpeg program; where ffprobe is missing, answer for it at no cost."""
    probe = shutil.which("ffprobe")
    folder = Path(tempfile.mkdtemp())
    (folder / "ffmpeg").symlink_to(program)
    (folder / "ffprobe").symlink_to(probe or "/bin/false")  # stempeg asks whether it is there
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"
    if probe is not None:
        return ""
    import ffmpeg

    stream = {
        "codec_type": "audio", "channels": 2, "sample_rate": str(RATE),
        "duration": str(TRACK_SECONDS), "duration_ts": TRACK_SECONDS * RATE,
    }  # fmt: skip
    answer = {"streams": [stream | {"index": number} for number in range(5)]}
    ffmpeg.probe = lambda *_, **__: answer
    return " (no ffprobe here: its answers cost nothing)"
