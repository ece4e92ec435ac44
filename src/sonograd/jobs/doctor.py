"""``sonograd doctor``: what is installed, how fast it is, and what is missing."""

import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from sonograd.data import FORMATS, read_audio, write_audio
from sonograd.errors import SonogradError
from sonograd.functional import has_fast_kernels
from sonograd.jobs.resources import available_devices, choose_device, free_cores, usable_cores
from sonograd.jobs.workers import ChunkRunner
from sonograd.zoo.lookup import load, model_names

__all__ = ["Codec", "Diagnosis", "Extra", "ModelSpeed", "diagnose", "measure_speed"]

_PACKAGES = (
    *("numpy", "soundfile", "av", "soxr", "safetensors"),
    *("cyclopts", "pydantic", "pooch", "pyyaml"),
)
#: Extras for people who work on sonograd itself.
_DEVELOPMENT = {"dev", "docs", "test"}


@dataclass(frozen=True)
class ModelSpeed:
    """How fast a model is here.

    Attributes:
        model: Its name.
        real_time_factor: Seconds of work per second of audio, or None if it did not run.
        problem: Why it did not run.
    """

    model: str
    real_time_factor: float | None
    problem: str = ""


@dataclass(frozen=True)
class Codec:
    """Whether audio in a format can be written and read back here.

    Attributes:
        format: Its name.
        problem: What went wrong; empty if nothing did.
    """

    format: str
    problem: str = ""


@dataclass(frozen=True)
class Extra:
    """An optional set of dependencies.

    Attributes:
        name: What stands in the brackets of ``pip install 'sonograd[NAME]'``.
        missing: Packages of it that are not installed.
    """

    name: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Diagnosis:
    """What ``doctor`` found out.

    Attributes:
        versions: Version of each package, and of what it brings; "missing" if it is not there.
        device: What ``--device auto`` stands for.
        devices: All kinds of devices that are here, with their names.
        installed_cores: Cores of the machine.
        usable_cores: Cores that this process may use.
        free_cores: Cores that others leave idle right now; ``--workers`` by default.
        speeds: One entry per installed model.
        codecs: One entry per format that can be written.
        cache: Folder for downloads.
        cache_bytes: Size of what is in it.
        extras: What is missing for each.
        fast_kernels: Whether the compiled kernels of the extra ``fast`` are used.
    """

    versions: dict[str, str]
    device: str
    devices: tuple[str, ...]
    installed_cores: int
    usable_cores: int
    free_cores: int
    speeds: tuple[ModelSpeed, ...]
    codecs: tuple[Codec, ...]
    cache: Path
    cache_bytes: int
    extras: tuple[Extra, ...]
    fast_kernels: bool


def diagnose(
    *,
    device: str = "auto",
    speed: bool = True,
    on_progress: Callable[[float, float], None] | None = None,
) -> Diagnosis:
    """Look at this installation; a broken part is reported and keeps no other from being seen.

    Args:
        device: Where speed is measured.
        speed: Measure the speed of every installed model; takes a few seconds each.
        on_progress: Called with ``(done, total)`` in models.

    Raises:
        ParameterError: If there is no such device.
    """
    chosen = choose_device(device)
    free = free_cores()
    names = model_names() if speed else ()
    speeds = []
    for done, name in enumerate(names):
        if on_progress is not None:
            on_progress(done, len(names))
        speeds.append(measure_speed(name, chosen))
    cache = _cache()
    return Diagnosis(
        versions=_versions(),
        device=str(chosen),
        devices=tuple(_describe(kind) for kind in reversed(available_devices())),
        installed_cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        free_cores=free,
        speeds=tuple(speeds),
        codecs=_codecs(),
        cache=cache,
        cache_bytes=sum(file.stat().st_size for file in cache.rglob("*") if file.is_file()),
        extras=_extras(metadata.requires("sonograd") or ()),
        fast_kernels=has_fast_kernels(),
    )


def measure_speed(model: str, device: torch.device, *, workers: int | None = None) -> ModelSpeed:
    """Separate noise, one chunk per worker, and return the real-time factor.

    Loading does not count, and neither do reading and writing.
    """
    try:
        separator = load(model).to(device)
        plan = separator.plan
        chunk = torch.randn(separator.channels, plan.input_length) * 0.1
        with ChunkRunner(device, workers=workers) as runner:
            begin = time.perf_counter()
            chunks = sum(1 for _ in runner.run(separator, [chunk] * runner.workers))
            elapsed = time.perf_counter() - begin
    except (SonogradError, OSError, RuntimeError) as error:
        return ModelSpeed(model, None, _first_line(error))
    return ModelSpeed(model, elapsed / (chunks * plan.hop / separator.sample_rate))


def _versions() -> dict[str, str]:
    found = {"sonograd": "", "python": platform.python_version(), "torch": torch.__version__}
    for package in ("sonograd", *_PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    try:
        import soundfile

        found["libsndfile"] = str(soundfile.__libsndfile_version__)
    except (ImportError, OSError) as error:
        found["libsndfile"] = f"missing ({_first_line(error)})"
    try:
        import av

        found["FFmpeg"] = str(av.ffmpeg_version_info)
    except (ImportError, OSError) as error:
        found["FFmpeg"] = f"missing ({_first_line(error)})"
    return found


def _describe(kind: str) -> str:
    if kind == "cuda":
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return f"cuda ({', '.join(names)})"
    return f"cpu ({platform.machine()})" if kind == "cpu" else kind


def _codecs() -> tuple[Codec, ...]:
    """Write and read back a tenth of a second in every format."""
    tone = torch.sin(torch.arange(4800) / 10).expand(2, -1) / 2
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, item in FORMATS.items():
            path = Path(folder) / f"{name}{item.suffix}"
            try:
                write_audio(path, tone, 48000, format=name)
                back, _ = read_audio(path)
            except (SonogradError, OSError, ImportError, RuntimeError) as error:
                results.append(Codec(name, _first_line(error)))
                continue
            good = back.shape == tone.shape
            results.append(Codec(name, "" if good else f"length changed to {back.shape[-1]}"))
    return tuple(results)


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("sonograd"))


def _extras(requirements: Sequence[str]) -> tuple[Extra, ...]:
    """Return what is missing for each extra, from the requirements in the package's metadata."""
    missing: dict[str, list[str]] = {}
    for requirement in requirements:
        package = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if package is None or extra is None or extra[1] in _DEVELOPMENT:
            continue
        names = missing.setdefault(extra[1], [])
        try:
            metadata.version(package[0])
        except metadata.PackageNotFoundError:
            names.append(package[0])
    return tuple(Extra(name, tuple(packages)) for name, packages in sorted(missing.items()))


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
