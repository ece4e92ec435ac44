"""The whole of a recording through a match, in blocks: what it gives, and what it leaves."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from sonograd.config.output import Bits
from sonograd.data import AudioWriter, resample_audio
from sonograd.errors import OutputError
from sonograd.matching import MatchResult
from sonograd.matching.align import REACH, shifted
from sonograd.matching.sources import Source

__all__ = ["Rendering", "render_match", "sounds_of"]

_BLOCK = 1 << 16
_LISTEN_S = 12.0
_LISTEN_RATE = 48_000
_LOUDEST_DB = 60.0  # that a residual is turned up by
_PEAK = 0.89


@dataclass(frozen=True)
class Rendering:
    """What came of the whole recording.

    Attributes:
        files: What was written.
        null_db: Level of wet over that of the residual.
        seconds: Length.
    """

    files: tuple[Path, ...]
    null_db: float
    seconds: float


@torch.no_grad()
def render_match(
    result: MatchResult,
    dry: Path,
    wet: Path,
    folder: Path,
    *,
    bits: Bits = "32f",
    on_progress: Callable[[float, float], None] | None = None,
) -> Rendering:
    """Write ``matched.wav`` and ``residual.wav``, as long as wet and aligned with it.

    Args:
        result: What was found.
        dry: The dry file.
        wet: The processed file.
        folder: Where to write; it exists.
        bits: Sample format.
        on_progress: Called with seconds done and in total.
    """
    rate = result.sample_rate
    source, target = Source(str(dry), "dry"), Source(str(wet), "wet", to_rate=rate)
    whole = round(result.delay_samples)
    fraction = result.delay_samples - whole
    channels = target.channels
    paths = [folder / "matched.wav", folder / "residual.wav"]
    options = {"sample_rate": rate, "channels": channels, "bits": bits, "samples": target.samples}
    stream = _Stream(result, source, channels)
    energy = left = 0.0
    position = 0
    matched, residual = (AudioWriter(path, **options) for path in paths)  # type: ignore[arg-type]
    with matched, residual:
        while position < target.samples:
            count = min(_BLOCK, target.samples - position)
            around = stream.read(position - whole - REACH, count + 2 * REACH)
            block = shifted(around, -fraction)
            truth = target.read(position, count).to(block.dtype)
            rest = truth - block
            energy += float(truth.double().square().sum())
            left += float(rest.double().square().sum())
            matched.write(block)
            residual.write(rest)
            position += count
            if on_progress is not None:
                on_progress(position / rate, target.samples / rate)
    null = math.inf if left == 0 else 10 * math.log10(max(energy, 1e-30) / left)
    return Rendering(tuple(paths), null, target.samples / rate)


class _Stream:
    """The dry recording through the chain, read forward in windows that may overlap."""

    def __init__(self, result: MatchResult, source: Source, channels: int) -> None:
        self.result = result
        self.source = source
        self.channels = channels
        # Everything before the first sample is silence, and stays so.
        self.start = 0
        self.ready = torch.zeros(channels, 0)
        self.blocks = self._process()

    def read(self, start: int, samples: int) -> Tensor:
        """Return a window ``(channels, samples)``; its start must not go back."""
        while self.start + self.ready.shape[-1] < start + samples:
            keep = max(start - self.start, 0)
            dropped = min(keep, self.ready.shape[-1])
            self.ready = torch.cat([self.ready[:, dropped:], next(self.blocks)], dim=-1)
            self.start += dropped
        silence = min(max(-start, 0), samples)
        begin = start + silence - self.start
        inside = self.ready[:, begin : begin + samples - silence]
        return torch.nn.functional.pad(inside, (silence, 0))

    def _process(self) -> Iterator[Tensor]:
        """Yield the output from dry's first sample on, forever."""
        effect, values = self.result.effect, self.result.values
        mixed = self.channels == 1 and self.source.channels > 1
        width = max(self.channels, 1 if mixed else self.source.channels)
        state = effect.init_state(1, width)
        late, position = effect.latency, 0
        while True:
            x = self.source.read(position, _BLOCK)
            x = x.mean(0, keepdim=True) if mixed else x.expand(width, -1)
            y, state = effect.stream(x.contiguous(), state, **values)
            if not bool(y.isfinite().all()):
                raise OutputError("the result is no finite number; are the values extreme?")
            position += _BLOCK
            skipped = min(late, y.shape[-1])
            late -= skipped
            yield y[: self.channels, skipped:]


def sounds_of(result: MatchResult, folder: Path) -> dict[str, bytes]:
    """Return the excerpt before and after as flac, and the residual turned up to be heard.

    No codec that leaves things out: what is listened for is less than it would leave out.

    Args:
        result: What was found.
        folder: For files that are removed again.
    """
    count = round(_LISTEN_S * result.sample_rate)
    residual = result.residual()[..., :count]
    peak = float(residual.abs().max())
    up = min(20 * math.log10(_PEAK / peak), _LOUDEST_DB) if peak > 0 else 0.0
    named = {
        "dry": result.dry,
        "wet": result.wet,
        "match": result.processed,
        f"what remains, {up:+.0f} dB": residual * 10 ** (up / 20),
    }
    loudest = max(float(x[..., :count].abs().max()) for x in list(named.values())[:3])
    scale = min(1.0, _PEAK / max(loudest, 1e-9))
    return {
        name: _flac(x[..., :count] * (scale if k < 3 else 1.0), result.sample_rate, folder)
        for k, (name, x) in enumerate(named.items())
    }


def _flac(audio: Tensor, sample_rate: int, folder: Path) -> bytes:
    if sample_rate > _LISTEN_RATE:
        audio = resample_audio(audio, sample_rate, _LISTEN_RATE)
        sample_rate = _LISTEN_RATE
    if audio.shape[0] > 2:
        audio = audio.mean(0, keepdim=True)
    path = folder / ".listen.flac"
    with AudioWriter(
        path, sample_rate=sample_rate, channels=audio.shape[0], bits="16", overwrite=True
    ) as writer:
        writer.write(audio)
    try:
        return path.read_bytes()
    finally:
        path.unlink()
