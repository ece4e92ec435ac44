"""Chains in other languages: pedalboard code, Equalizer APO, ffmpeg.

Only what the other program computes by the same formula is written; anything else is refused with
the name of the effect and what stands in the way. Silent approximations would defeat the purpose.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from torch import Tensor

from sonograd.effects.base import Effect, Values
from sonograd.effects.structure import Bypass, Chain, Structure
from sonograd.errors import ParameterError
from sonograd.params import Curve

__all__ = ["TARGETS", "export", "to_equalizer_apo", "to_ffmpeg", "to_pedalboard"]

Target: TypeAlias = Literal["pedalboard", "equalizer-apo", "ffmpeg"]


@dataclass(frozen=True)
class _Stage:
    """One effect with plain numbers."""

    path: str
    kind: str
    options: Mapping[str, Any]
    values: Mapping[str, float]
    sample_rate: float

    def refuse(self, target: str, why: str) -> ParameterError:
        """Return the error that says why this stage cannot be written."""
        return ParameterError(f"{self.path} ({self.kind}) cannot be exported to {target}: {why}")

    def need(self, target: str, **expected: Any) -> None:
        """Refuse unless options and values are as expected."""
        for name, value in expected.items():
            got = self.options[name] if name in self.options else self.values[name]
            if got != value:
                raise self.refuse(target, f"{name} is {got!r}, and there it is {value!r}")


def export(effect: Effect, values: Values | None, target: Target) -> str:
    """Write a chain in another language.

    Args:
        effect: An effect, or a chain of them.
        values: One set of numbers; missing ones are at their default.
        target: One of :data:`TARGETS`.

    Raises:
        ParameterError: If something cannot be expressed there.
    """
    if target not in TARGETS:
        raise ParameterError(f"target is {target!r}; expected one of {', '.join(TARGETS)}")
    return TARGETS[target](effect, values)


def to_pedalboard(effect: Effect, values: Values | None = None) -> str:
    """Return Python code that makes a ``pedalboard.Pedalboard``, see :func:`export`."""
    plugins = [line for stage in _stages(effect, values) for line in _plugin(stage)]
    names = sorted({plugin.partition("(")[0] for plugin in plugins})
    lines = [
        f"from pedalboard import {', '.join(['Pedalboard', *names])}",
        "",
        "board = Pedalboard(",
    ]
    lines += ["    [", *(f"        {plugin}," for plugin in plugins), "    ]", ")"]
    return "\n".join(lines) + "\n"


def to_equalizer_apo(effect: Effect, values: Values | None = None) -> str:
    """Return the text of a configuration file of Equalizer APO, see :func:`export`."""
    lines = [line for stage in _stages(effect, values) for line in _apo(stage)]
    return "\n".join(lines) + "\n"


def to_ffmpeg(effect: Effect, values: Values | None = None) -> str:
    """Return the argument of ``ffmpeg -af``, see :func:`export`.

    ffmpeg computes in the sample format of the input: put ``aformat=dblp`` before for exactness.
    """
    filters = [item for stage in _stages(effect, values) for item in _ffmpeg(stage)]
    return ",".join(filters) or "anull"


#: The languages, and what writes them.
TARGETS: Mapping[str, Callable[[Effect, Values | None], str]] = MappingProxyType(
    {
        "pedalboard": to_pedalboard,
        "equalizer-apo": to_equalizer_apo,
        "ffmpeg": to_ffmpeg,
    }
)


def _stages(effect: Effect, values: Values | None, path: str = "") -> Iterator[_Stage]:
    """Walk through chains; equalizers are taken apart into bands."""
    values = values or {}
    effect._check_names(values)
    kind = effect.type_name()
    path = path or kind
    if isinstance(effect, Bypass):
        if not effect.bypassed:
            yield from _stages(effect.stage("effect"), values.get("effect"), path)
        return
    if isinstance(effect, Chain):
        for name in effect.stage_names:
            yield from _stages(effect.stage(name), values.get(name), name)
        return
    if isinstance(effect, Structure):
        raise ParameterError(
            f"{path} ({kind}) cannot be exported: only chains can; export its stages one by one"
        )
    plain = {p.name: _plain(p.name, values.get(p.name, p.default)) for p in effect.params}
    plain = {p.name: min(max(plain[p.name], p.low), p.high) for p in effect.params}
    if kind != "parametric_eq":
        yield _Stage(path, kind, effect.options(), plain, effect.sample_rate)
        return
    for k, band in enumerate(effect.options()["bands"], start=1):
        own = {
            name.removeprefix(f"band{k}_"): value
            for name, value in plain.items()
            if name.startswith(f"band{k}_")
        }
        kind = band
        if band in {"low_pass", "high_pass"}:
            kind, own["cutoff_hz"] = f"resonant_{band}", own.pop("frequency_hz")
        yield _Stage(f"{path} band {k}", kind, {}, own, effect.sample_rate)


def _plain(name: str, value: Any) -> float:
    if isinstance(value, Curve) or (isinstance(value, Tensor) and value.numel() != 1):
        raise ParameterError(f"{name}: only single numbers can be exported")
    return float(value)


def _text(value: float) -> str:
    return repr(round(value, 10)).removesuffix(".0")


def _orders(stage: _Stage) -> list[float]:
    """Quality of each section of a Butterworth filter of even order."""
    order = int(stage.options["order"])
    return [0.5 / math.sin(math.pi * (2 * k + 1) / (2 * order)) for k in range(order // 2)]


def _gain_db(gain_db: float, template: str) -> list[str]:
    return [template.format(_text(gain_db))] if gain_db else []


# -- pedalboard -------------------------------------------------------------------------------


def _plugin(stage: _Stage) -> list[str]:
    target, v = "pedalboard", {name: _text(value) for name, value in stage.values.items()}

    def gain(name: str) -> list[str]:
        return _gain_db(stage.values[name], "Gain(gain_db={})")

    match stage.kind:
        case "gain":
            return [*(["Invert()"] if stage.options["invert"] else []), *gain("gain_db")]
        case "distortion":
            stage.need(target, oversampling=1)
            return [f"Distortion(drive_db={v['drive_db']})", *gain("output_db")]
        case "clipping":
            stage.need(target, oversampling=1)
            return [f"Clipping(threshold_db={v['threshold_db']})"]
        case "bit_crush":
            stage.need(target, oversampling=1)
            return [f"Bitcrush(bit_depth={v['bits']})"]
        case "delay":
            stage.need(target, filtered=False, sync=None)
            samples = stage.values["delay_ms"] * stage.sample_rate / 1000
            if abs(samples - round(samples)) > 1e-6:
                raise stage.refuse(target, f"the delay is {samples:g} samples, no whole number")
            seconds = _text((round(samples) + 0.01) / stage.sample_rate)
            return [f"Delay(delay_seconds={seconds}, feedback={v['feedback']}, mix={v['mix']})"]
        case "freeverb":
            return [
                f"Reverb(room_size={v['room_size']}, damping={v['damping']}, "
                f"wet_level={v['wet']}, dry_level={v['dry']}, width={v['width']})"
            ]
        case "chorus" | "phaser":
            stage.need(target, shape="sine", phase=0.5, sync=None, spread_deg=0.0)
            center = (
                "centre_delay_ms={center_ms}"
                if stage.kind == "chorus"
                else ("centre_frequency_hz={center_hz}")
            )
            return [
                f"{stage.kind.title()}(rate_hz={v['rate_hz']}, depth={v['depth']}, "
                f"{center.format(**v)}, feedback={v['feedback']}, mix={v['mix']})"
            ]
        case "compressor":
            stage.need(
                target, detector="peak", smoothing="level", link="none", time_convention="juce",
                lookahead_ms=0.0, knee_db=0.0,
            )  # fmt: skip
            times = f"attack_ms={v['attack_ms']}, release_ms={v['release_ms']}"
            curve = f"threshold_db={v['threshold_db']}, ratio={v['ratio']}"
            return [f"Compressor({curve}, {times})", *gain("makeup_db")]
        case "two_stage_limiter":
            return [f"Limiter(threshold_db={v['threshold_db']}, release_ms={v['release_ms']})"]
        case "peak" | "low_shelf" | "high_shelf":
            name = {"peak": "PeakFilter", "low_shelf": "LowShelfFilter"}.get(
                stage.kind, "HighShelfFilter"
            )
            return [
                f"{name}(cutoff_frequency_hz={v['frequency_hz']}, gain_db={v['gain_db']}, "
                f"q={v['q']})"
            ]
        case "low_pass" | "high_pass":
            stage.need(target, order=1)
            name = "LowpassFilter" if stage.kind == "low_pass" else "HighpassFilter"
            return [f"{name}(cutoff_frequency_hz={v['cutoff_hz']})"]
    raise stage.refuse(target, "it has no plugin with this formula")


# -- Equalizer APO ----------------------------------------------------------------------------


def _apo(stage: _Stage) -> list[str]:
    target, v = "Equalizer APO", {name: _text(value) for name, value in stage.values.items()}
    match stage.kind:
        case "gain":
            stage.need(target, invert=False)
            return _gain_db(stage.values["gain_db"], "Preamp: {} dB")
        case "peak" | "low_shelf" | "high_shelf":
            name = {"peak": "PK", "low_shelf": "LSC"}.get(stage.kind, "HSC")
            return [
                f"Filter: ON {name} Fc {v['frequency_hz']} Hz Gain {v['gain_db']} dB Q {v['q']}"
            ]
        case "band_pass" | "notch" | "all_pass":
            name = {"band_pass": "BP", "notch": "NO"}.get(stage.kind, "AP")
            return [f"Filter: ON {name} Fc {v['frequency_hz']} Hz Q {v['q']}"]
        case "resonant_low_pass" | "resonant_high_pass":
            name = "LPQ" if stage.kind == "resonant_low_pass" else "HPQ"
            return [f"Filter: ON {name} Fc {v['cutoff_hz']} Hz Q {v['q']}"]
        case "low_pass" | "high_pass":
            if stage.options["order"] == 1:
                raise stage.refuse(target, "its filters have order 2")
            name = "LPQ" if stage.kind == "low_pass" else "HPQ"
            return [
                f"Filter: ON {name} Fc {v['cutoff_hz']} Hz Q {_text(q)}" for q in _orders(stage)
            ]
    raise stage.refuse(target, "it is an equalizer of second-order filters")


# -- ffmpeg -----------------------------------------------------------------------------------


def _ffmpeg(stage: _Stage) -> list[str]:
    target, v = "ffmpeg", {name: _text(value) for name, value in stage.values.items()}
    match stage.kind:
        case "gain":
            stage.need(target, invert=False)
            return _gain_db(stage.values["gain_db"], "volume={}dB:precision=double")
        case "peak" | "low_shelf" | "high_shelf":
            name = {"peak": "equalizer", "low_shelf": "lowshelf"}.get(stage.kind, "highshelf")
            return [f"{name}=f={v['frequency_hz']}:t=q:w={v['q']}:g={v['gain_db']}"]
        case "band_pass" | "notch" | "all_pass":
            name = {"band_pass": "bandpass", "notch": "bandreject"}.get(stage.kind, "allpass")
            return [f"{name}=f={v['frequency_hz']}:t=q:w={v['q']}"]
        case "resonant_low_pass" | "resonant_high_pass":
            name = "lowpass" if stage.kind == "resonant_low_pass" else "highpass"
            return [f"{name}=f={v['cutoff_hz']}:t=q:w={v['q']}"]
        case "low_pass" | "high_pass":
            if stage.options["order"] == 1:
                raise stage.refuse(target, "its filters of order 1 follow another formula")
            name = stage.kind.replace("_", "")
            return [f"{name}=f={v['cutoff_hz']}:t=q:w={_text(q)}" for q in _orders(stage)]
        case "mid_side_encode":
            return ["pan=stereo|c0=0.5*c0+0.5*c1|c1=0.5*c0-0.5*c1"]
        case "mid_side_decode":
            return ["pan=stereo|c0=c0+c1|c1=c0-c1"]
        case "width":
            same, other = (1 + stage.values["width"]) / 2, (1 - stage.values["width"]) / 2
            return [
                f"pan=stereo|c0={_text(same)}*c0{other:+.10f}*c1|c1={other:.10f}*c0+{_text(same)}*c1"
            ]
        case "channel_delay":
            samples = stage.values["delay_ms"] * stage.sample_rate / 1000
            if abs(samples - round(samples)) > 1e-6:
                raise stage.refuse(target, f"the delay is {samples:g} samples, no whole number")
            return [f"adelay={round(samples)}S:all=1"]
    raise stage.refuse(target, "it has no filter with this formula")
