"""The audio formats that can be written, and what each of them allows.

This module imports neither torch nor any audio library, so that the command line and the
configuration can check an output format before any work starts.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sonograd.config.io import suggest
from sonograd.config.output import Bits
from sonograd.errors import ParameterError

__all__ = [
    "FORMATS",
    "READ_SUFFIXES",
    "AudioFormat",
    "check_format",
    "format_from_path",
]

_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES = (*_MP3_RATES, 64000, 88200, 96000)


@dataclass(frozen=True)
class AudioFormat:
    """One output format.

    Attributes:
        name: Its key in :data:`FORMATS`.
        suffixes: File name endings that mean it, the usual one first.
        bits: The sample depths it can hold; empty where the codec decides (lossy formats).
        default_bits: The depth that is used when none is asked for.
        max_channels: The most channels one file can hold.
        sample_rates: The sample rates in Hz it allows; empty for any up to ``max_sample_rate``.
        max_sample_rate: The highest sample rate in Hz.
        bitrates_kbps: Lowest and highest bit rate that can be asked for, lossy formats only.
        tags: Whether title, artist and so on can be stored.
        cover: Whether a picture can be stored.
        min_samples: The shortest valid file; shorter signals are followed by silence.
    """

    name: str
    suffixes: tuple[str, ...]
    bits: tuple[Bits, ...] = ()
    default_bits: Bits | None = None
    max_channels: int = 8
    sample_rates: tuple[int, ...] = ()
    max_sample_rate: int = 384_000
    bitrates_kbps: tuple[int, int] | None = None
    tags: bool = True
    cover: bool = False
    min_samples: int = 0

    @property
    def suffix(self) -> str:
        """The usual file name ending, with its dot."""
        return self.suffixes[0]

    @property
    def lossy(self) -> bool:
        """Whether what is read back differs from what was written."""
        return not self.bits


_PCM: tuple[Bits, ...] = ("16", "24", "32f")
_INTEGER: tuple[Bits, ...] = ("16", "24")

FORMATS: Mapping[str, AudioFormat] = MappingProxyType(
    {
        item.name: item
        for item in (
            AudioFormat("wav", (".wav", ".wave"), _PCM, "32f", max_channels=64),
            AudioFormat("rf64", (".rf64",), _PCM, "32f", max_channels=64),
            AudioFormat("w64", (".w64",), _PCM, "32f", max_channels=64, tags=False),
            AudioFormat("aiff", (".aiff", ".aif", ".aifc"), _PCM, "24", max_channels=64),
            AudioFormat("flac", (".flac",), _INTEGER, "24", cover=True),
            AudioFormat(
                "alac", (".m4a",), _INTEGER, "24", max_channels=2, cover=True, min_samples=1
            ),
            AudioFormat("ogg", (".ogg", ".oga"), max_sample_rate=192_000, bitrates_kbps=(64, 500)),
            # Opus is always decoded at 48 kHz.
            AudioFormat(
                "opus",
                (".opus",),
                sample_rates=(48_000,),
                bitrates_kbps=(32, 510),
                cover=True,
                min_samples=1,
            ),
            AudioFormat(
                "mp3",
                (".mp3",),
                max_channels=2,
                sample_rates=_MP3_RATES,
                bitrates_kbps=(96, 320),
                cover=True,
            ),
            AudioFormat(
                "m4a",
                (".m4a", ".mp4"),
                sample_rates=_AAC_RATES,
                bitrates_kbps=(64, 512),
                cover=True,
                min_samples=1,
            ),
        )
    }
)
"""Every output format by name. ``.m4a`` alone means AAC; ask for ``alac`` by name."""

READ_SUFFIXES = frozenset(
    {suffix for item in FORMATS.values() for suffix in item.suffixes}
    | {".aac", ".au", ".caf", ".m4b", ".mka", ".webm", ".wma"}
)
"""File name endings, in lower case, under which audio is looked for in folders."""


def format_from_path(path: str | os.PathLike[str]) -> str:
    """Return the name of the format that the ending of ``path`` means.

    >>> format_from_path("stems/vocals.MP3")
    'mp3'

    Raises:
        ParameterError: If no output format has this ending.
    """
    suffix = Path(path).suffix.lower()
    for item in sorted(FORMATS.values(), key=lambda item: item.name == "alac"):
        if suffix in item.suffixes:
            return item.name
    endings = ", ".join(item.suffix for item in FORMATS.values() if item.name != "alac")
    got = f"has the ending {suffix!r}" if suffix else "has no ending"
    raise ParameterError(f"{os.fspath(path)} {got}; audio can be written as {endings}.")


def check_format(
    name: str,
    *,
    sample_rate: int,
    channels: int,
    bits: str | None = None,
    bitrate_kbps: int | None = None,
) -> AudioFormat:
    """Return the format called ``name`` if it can hold such audio.

    Args:
        name: A key of :data:`FORMATS`.
        sample_rate: In Hz.
        channels: Channels per file.
        bits: The wanted depth; ``None`` for the default. Lossy formats ignore it.
        bitrate_kbps: The wanted bit rate in kbit/s. Lossless formats ignore it.

    Raises:
        ParameterError: Naming the first thing that does not fit, and what to do.
    """
    if name not in FORMATS:
        raise ParameterError(
            f"format is {name!r}; expected one of {', '.join(FORMATS)}.{suggest(name, FORMATS)}"
        )
    item = FORMATS[name]
    if channels < 1 or channels > item.max_channels:
        raise ParameterError(
            f"{name} holds 1 to {item.max_channels} channels, got {channels}; "
            + ("choose wav." if channels > 8 else "choose flac or wav, or mix down first.")
        )
    _check_rate(item, sample_rate)
    if bits is not None and item.bits and bits not in item.bits:
        raise ParameterError(
            f"{name} cannot hold bits={bits!r}; expected one of {', '.join(item.bits)}"
            + (", or choose wav." if bits == "32f" else ".")
        )
    if bitrate_kbps is not None and item.bitrates_kbps is not None:
        low, high = item.bitrates_kbps
        if not low <= bitrate_kbps <= high:
            raise ParameterError(
                f"bitrate_kbps is {bitrate_kbps}; {name} takes {low} to {high} kbit/s."
            )
    return item


def _check_rate(item: AudioFormat, sample_rate: int) -> None:
    """Raise unless ``item`` can hold audio at ``sample_rate``."""
    if item.sample_rates:
        if sample_rate not in item.sample_rates:
            higher = [rate for rate in item.sample_rates if rate >= sample_rate]
            nearest = min(higher, default=max(item.sample_rates))
            expected = "one of " * (len(item.sample_rates) > 1)
            expected += ", ".join(map(str, item.sample_rates))
            raise ParameterError(
                f"{item.name} cannot hold a sample rate of {sample_rate} Hz; expected {expected}. "
                f"Resample to {nearest} Hz, or choose flac or wav."
            )
    elif not 1 <= sample_rate <= item.max_sample_rate:
        raise ParameterError(
            f"{item.name} holds sample rates up to {item.max_sample_rate} Hz, got {sample_rate}; "
            "resample first."
        )
