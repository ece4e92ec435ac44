"""``sonograd doctor``."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sonograd.cli.console import Console

if TYPE_CHECKING:
    from sonograd.jobs.doctor import Diagnosis

__all__ = ["doctor"]


def doctor(
    *, device: str = "auto", speed: bool = True, json: bool = False, quiet: bool = False
) -> int:
    """Show versions, devices, the speed of every model, codecs, and what is missing.

    Exit status 1 means that a model or a codec does not work.

    Args:
        device: Where speed is measured: auto, cpu, cuda, cuda:1, mps.
        speed: Measure the speed of every installed model; takes a few seconds each.
        json: Print JSON.
        quiet: Show no progress.
    """
    from sonograd.jobs.doctor import diagnose

    with Console(quiet=quiet, unit="models") as console:
        console.describe("measuring speed")
        found = diagnose(device=device, speed=speed, on_progress=console.progress)
    if json:
        from json import dumps

        from sonograd.config import to_dict

        print(dumps(to_dict(found), indent=2))
    else:
        for line in _lines(found):
            print(line)
    problems = [codec.problem for codec in found.codecs] + [item.problem for item in found.speeds]
    return 1 if any(problems) else 0


def _lines(found: "Diagnosis") -> Iterable[str]:
    yield "versions"
    for name, version in found.versions.items():
        yield f"  {name:<12} {version}"
    yield "device"
    yield f"  {'auto is':<12} {found.device}; here: {', '.join(found.devices)}"
    yield (
        f"  {'cores':<12} {found.installed_cores} installed, {found.usable_cores} usable, "
        f"{found.free_cores} free now"
    )
    if found.speeds:
        yield "models (seconds of work per second of audio)"
    for item in found.speeds:
        if item.real_time_factor is None:
            yield f"  {item.model:<12} does not work: {item.problem}"
        else:
            yield (
                f"  {item.model:<12} {item.real_time_factor:.4f}  "
                f"({1 / item.real_time_factor:.1f} times real time)"
            )
    yield "codecs (written and read back)"
    for codec in found.codecs:
        yield f"  {codec.format:<12} {codec.problem or 'ok'}"
    yield "recursions that branch (envelopes, gates, Freeverb, moving filters)"
    yield f"  {'kernels':<12} {_kernels(found)}"
    yield "downloads"
    yield f"  {found.cache}, {found.cache_bytes / 1e6:.1f} MB"
    yield "extras"
    for extra in found.extras:
        if extra.missing:
            remedy = f"pip install 'sonograd[{extra.name}]'"
            yield f"  {extra.name:<12} missing {', '.join(extra.missing)}; {remedy}"
        elif extra.name == "fast" and not found.fast_kernels:
            yield f"  {extra.name:<12} installed, but compiled kernels are not in use"
        else:
            yield f"  {extra.name:<12} ok"


def _kernels(found: "Diagnosis") -> str:
    """Say what runs, and why it is not the fast form where it is not."""
    if found.fast_kernels:
        return "compiled with numba on the CPU, torch elsewhere"
    missing = any(extra.name == "fast" and extra.missing for extra in found.extras)
    remedy = "; faster with: pip install 'sonograd[fast]'" if missing else ""
    return f"torch alone: the same numbers, more slowly{remedy}"
