"""BSS eval, versions 3 and 4: how much of an estimate is target, interference and artifacts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import AudioError, ParameterError
from sonograd.functional._bss_energies import Energies, Pairs, energies_of_track, filters_from
from sonograd.functional._pairs import (
    Lengths,
    check_finite,
    check_pair,
    item_lengths,
    result_dtype,
)
from sonograd.functional._tracks import Track, frames_of
from sonograd.functional.assignment import best_permutation
from sonograd.functional.bss_filters import Correlator

__all__ = ["BSSEval", "bss_eval", "bss_eval_blocks", "framewise_sdr", "framewise_sdr_blocks"]

Silence: TypeAlias = Literal["nan", "skip_source", "museval"]
TrackBlocks: TypeAlias = Callable[[], Iterable[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class BSSEval:
    """What :func:`bss_eval` returns.

    Attributes:
        sdr: Source to distortion ratio in dB, ``(..., sources, frames)``.
        isr: Source image to spatial distortion ratio in dB, same shape; NaN for ``"sources"``.
        sir: Source to interference ratio in dB, same shape.
        sar: Sources to artifacts ratio in dB, same shape.
        permutation: Which estimate belongs to each reference, same shape, int64.
        silent: Where the reference is silent, same shape, bool.
        residual_dbfs: Mean level of the estimate in the frames where its reference is silent,
            ``(..., sources)``; NaN if there are none.
    """

    sdr: Tensor
    isr: Tensor
    sir: Tensor
    sar: Tensor
    permutation: Tensor
    silent: Tensor
    residual_dbfs: Tensor


@dataclass(frozen=True)
class _Options:
    window: int | None
    hop: int | None
    version: Literal["v4", "v3"]
    kind: Literal["images", "sources"]
    permutation: bool
    filter_length: int
    silent: Silence

    def __post_init__(self) -> None:
        _check_frames(self.window, self.hop)
        for name, choices in (
            ("version", ("v4", "v3")),
            ("kind", ("images", "sources")),
            ("silent", ("nan", "skip_source", "museval")),
        ):
            if getattr(self, name) not in choices:
                raise ParameterError(
                    f"{name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}"
                )
        if self.filter_length < 1:
            raise ParameterError(f"filter_length is {self.filter_length}; expected at least 1 tap")


def bss_eval(
    estimate: Tensor,
    reference: Tensor,
    *,
    window: int | None = None,
    hop: int | None = None,
    version: Literal["v4", "v3"] = "v4",
    kind: Literal["images", "sources"] = "images",
    permutation: bool = False,
    filter_length: int = 512,
    silent: Silence = "nan",
    lengths: Lengths | None = None,
) -> BSSEval:
    r"""Signal to distortion, interference and artifacts ratios, per frame, in dB.

    :math:`P_j \hat s` is what filters of ``filter_length`` taps can make of reference :math:`j`
    to come nearest to the estimate, :math:`P \hat s` what they can make of all references:

    .. math::
        \mathrm{SDR} = \frac{\|s_j\|^2}{\|\hat s - s_j\|^2}, \quad
        \mathrm{ISR} = \frac{\|s_j\|^2}{\|P_j \hat s - s_j\|^2}, \quad
        \mathrm{SIR} = \frac{\|P_j \hat s\|^2}{\|P \hat s - P_j \hat s\|^2}, \quad
        \mathrm{SAR} = \frac{\|P \hat s\|^2}{\|\hat s - P \hat s\|^2}

    These are the ratios of ``"images"``. For ``"sources"`` the SDR forgives the filter,
    :math:`\|P_j \hat s\|^2 / \|\hat s - P_j \hat s\|^2`, and there is no ISR.

    Version 4 finds the filters once for the whole track (Stöter et al., *The 2018 Signal
    Separation Evaluation Campaign*, doi:10.1007/978-3-319-93764-9_28), version 3 in every frame
    (Vincent et al., *Performance measurement in blind audio source separation*,
    doi:10.1109/TSA.2005.858005). Values equal those of museval and mir_eval where the problem is
    well conditioned. Everything is computed in float64.

    Args:
        estimate: ``(..., sources, channels, samples)``.
        reference: Same shape. Sources may be silent, mono as stereo, or repeat each other.
        window: Samples of a frame; the whole signal if None or longer than that. A rest at the
            end that does not fill a frame is left out.
        hop: Samples between frames; ``window`` if None.
        version: When the filters are found.
        kind: ``"images"`` compares with the reference itself, as the campaigns do; ``"sources"``
            forgives the filter.
        permutation: Find the order of the estimates with the highest mean SIR, in version 3 for
            every frame.
        filter_length: Taps of the filters.
        silent: ``"nan"``: a frame is NaN for a source whose reference is silent there, since its
            ratios have no meaning. ``"skip_source"``: also where its estimate is silent.
            ``"museval"``: NaN for all sources where the channels of any reference or estimate add
            up to zero, and an error for such a track.
        lengths: Samples that count in each item, ``(batch,)``; all if None. Items with fewer
            frames are filled up with NaN.

    Returns:
        Ratios with one value per source and frame.

    Raises:
        ShapeError: The shapes differ, hold no samples, or are no stems.
        ParameterError: A length or choice is out of range.
        AudioError: A sample is NaN or infinite, or a source is silent and ``silent`` is
            ``"museval"``.
    """
    options = _Options(window, hop, version, kind, permutation, filter_length, silent)
    check_pair(estimate, reference, dims=3)
    dtype = result_dtype(estimate)
    estimate, reference = estimate.detach(), reference.detach()
    lead, pairs = _items(estimate, reference, lengths)
    values = []
    for ours, theirs in pairs:
        check_finite(ours, name="estimate")
        check_finite(theirs, name="reference")
        values.append(_evaluate(Track.of(ours, theirs), options, known=True))
    return _stack(values, lead, dtype, estimate.device)


def bss_eval_blocks(
    blocks: TrackBlocks,
    *,
    window: int | None = None,
    hop: int | None = None,
    version: Literal["v4", "v3"] = "v4",
    kind: Literal["images", "sources"] = "images",
    permutation: bool = False,
    filter_length: int = 512,
    silent: Silence = "nan",
) -> BSSEval:
    """Evaluate one track that comes in blocks, see :func:`bss_eval`.

    Memory does not depend on the length of the track: about 250 MB for four stereo sources.

    Args:
        blocks: Called whenever the track is needed from its start (twice; more often for frames
            above three seconds that overlap); returns an iterator over pairs of estimate and
            reference, ``(sources, channels, any number of samples)``.
        window: As in :func:`bss_eval`, as all that follow.
        hop: Samples between frames.
        version: When the filters are found.
        kind: Images or sources.
        permutation: Whether to find the order of the estimates.
        filter_length: Taps of the filters.
        silent: What becomes of silence.

    Returns:
        Tensors ``(sources, frames)``, float64.
    """
    options = _Options(window, hop, version, kind, permutation, filter_length, silent)
    return _evaluate(Track(blocks), options, known=False)


def framewise_sdr(
    estimate: Tensor,
    reference: Tensor,
    *,
    window: int | None = None,
    hop: int | None = None,
    silent: Silence = "nan",
    lengths: Lengths | None = None,
) -> Tensor:
    """Return the SDR of BSS eval version 4, images, alone: far faster, since it needs no filters.

    Its median over the frames of one second, then over tracks, is the cSDR of the literature.
    Arguments, silence and errors as :func:`bss_eval`.

    Returns:
        ``(..., sources, frames)`` in dB.

    >>> reference = torch.tensor([[[1.0, -1.0, 2.0, 0.0, 0.0, 0.0]]])
    >>> framewise_sdr(1.1 * reference, reference, window=2).round(decimals=3)
    tensor([[20., 20., nan]])
    """
    _Options(window, hop, "v4", "images", False, 1, silent)
    check_pair(estimate, reference, dims=3)
    dtype = result_dtype(estimate)
    estimate, reference = estimate.detach(), reference.detach()
    if estimate.device.type == "mps":
        estimate, reference = estimate.cpu(), reference.cpu()
    lead, pairs = _items(estimate, reference, lengths)
    values = [_sdr_of_pair(ours, theirs, window, hop, silent) for ours, theirs in pairs]
    return _pad_frames(values).reshape(*lead, *values[0].shape[:1], -1).to(dtype)


def framewise_sdr_blocks(
    blocks: TrackBlocks,
    *,
    window: int,
    hop: int | None = None,
    silent: Silence = "nan",
) -> Tensor:
    """Evaluate one track that comes in blocks, see :func:`framewise_sdr` and its arguments.

    Args:
        blocks: As in :func:`bss_eval_blocks`.
        window: Samples of a frame.
        hop: Samples between frames.
        silent: What becomes of silence.

    Returns:
        ``(sources, frames)`` in dB, float64.
    """
    _Options(window, hop, "v4", "images", False, 1, silent)
    track = Track(blocks)
    track.survey()
    window, hop, count = _frames(track.samples or 0, window, hop)
    parts = [
        _sdr_of_frames(frames[1], frames[0], silent)
        for frames in frames_of(track.read(), window=window, hop=hop, count=count, chunk=1)
    ]
    return torch.cat(parts, dim=-1)


def _check_frames(window: int | None, hop: int | None) -> None:
    if (window is not None and window < 1) or (hop is not None and hop < 1):
        raise ParameterError(f"window is {window} and hop {hop}; expected at least 1 sample each")


def _frames(samples: int, window: int | None, hop: int | None) -> tuple[int, int, int]:
    """Return window, hop and the number of frames."""
    if window is None or window >= samples:
        return samples, samples, 1
    hop = hop or window
    return window, hop, (samples - window + hop) // hop


def _items(
    estimate: Tensor, reference: Tensor, lengths: Lengths | None
) -> tuple[torch.Size, list[tuple[Tensor, Tensor]]]:
    """Split a batch into its tracks without their padding."""
    lead, rest = estimate.shape[:-3], estimate.shape[-3:]
    cuts = item_lengths(lengths, estimate.shape, keep=3)
    pairs = zip(estimate.reshape(-1, *rest), reference.reshape(-1, *rest), strict=True)
    tracks = [(e[..., :cut], r[..., :cut]) for (e, r), cut in zip(pairs, cuts, strict=True)]
    return lead, tracks


def _evaluate(track: Track, options: _Options, *, known: bool) -> BSSEval:
    """Evaluate one track; ``known`` if its length, layout and values have been checked."""
    taps = options.filter_length
    correlator: Correlator | None = None

    def see(block: Tensor) -> None:
        nonlocal correlator
        if correlator is None:
            size = block.shape[1] * block.shape[2]
            correlator = Correlator(size, 2 * size, taps, block.device)
        correlator.feed(block.flatten(0, 2))

    if options.version == "v4" and known:
        for block in track.read():
            see(block)
    elif not known:
        track.survey(see if options.version == "v4" else None)
    pairs = _pairs(track.sources, options.permutation)
    filters = None
    if correlator is not None:
        filters = filters_from(correlator.finish(), pairs, channels=track.channels)
    window, hop, count = _frames(track.samples or 0, options.window, options.hop)
    energies = energies_of_track(track, pairs, window=window, hop=hop, taps=taps, filters=filters)
    return _ratios(energies, options, size=window * track.channels, count=count)


def _pairs(sources: int, permutation: bool) -> Pairs:
    if not permutation:
        return tuple((j, j) for j in range(sources))
    return tuple((j, i) for j in range(sources) for i in range(sources))


def _db(signal: Tensor, noise: Tensor) -> Tensor:
    """Ratio in dB; infinite without noise, NaN without anything."""
    value = 10 * torch.log10(signal / noise)
    return torch.where((noise == 0) & (signal > 0), torch.inf, value)


def _ratios(energies: Energies, options: _Options, *, size: int, count: int) -> BSSEval:
    sources = energies.reference.shape[0]
    reference = energies.reference[:, None].expand_as(energies.error)
    sir = _db(energies.filtered, energies.interference)
    sar = _db(energies.projected, energies.artifacts).expand_as(sir)
    if options.kind == "images":
        sdr, isr = _db(reference, energies.error), _db(reference, energies.spatial)
    else:
        sdr = _db(energies.filtered, energies.unfiltered)
        isr = torch.full_like(sdr, torch.nan)
    undefined = _undefined(energies, options.silent)
    sdr, isr, sir, sar = (x.masked_fill(undefined, torch.nan) for x in (sdr, isr, sir, sar))
    order = torch.arange(sources, device=sir.device)[:, None].expand(sources, count)
    if options.permutation:
        order = _best_order(sir, framewise=options.version == "v3")
    sdr, isr, sir, sar = (x.gather(1, order[:, None])[:, 0] for x in (sdr, isr, sir, sar))
    silent = energies.reference == 0
    residual = energies.estimate.gather(0, order).masked_fill(~silent, 0.0).sum(-1)
    level = 10 * torch.log10(residual / (silent.sum(-1) * size))
    return BSSEval(sdr, isr, sir, sar, order, silent, level)


def _undefined(energies: Energies, policy: Silence) -> Tensor:
    """Where the ratios have no meaning, ``(references, estimates, frames)``."""
    silent = energies.reference == 0
    if policy == "nan":
        return silent[:, None].expand_as(energies.error)
    if policy == "skip_source":
        return silent[:, None] | (energies.estimate == 0)[None]
    kinds = energies.silent > 0
    for kind, name in zip(kinds, ("reference", "estimate"), strict=True):
        if bool(kind.all(-1).any()):
            raise AudioError(
                f"the {name} of source {int(kind.all(-1).nonzero()[0])} is silent throughout, "
                "which silent='museval' refuses; use silent='nan' to score the others"
            )
    return kinds.any(0).any(0)[None, None].expand_as(energies.error)


def _best_order(sir: Tensor, *, framewise: bool) -> Tensor:
    """The order of the estimates with the highest mean SIR, ``(references, frames)``."""
    sources, _, frames = sir.shape
    # An infinite ratio must win, but not hide how the others compare; NaN decides nothing.
    value = sir.nan_to_num(nan=0.0, posinf=1e3, neginf=-1e3)
    if not framewise:
        value = value.mean(-1, keepdim=True)
    best = best_permutation(value.permute(2, 1, 0), maximize=True)
    return best.mT.expand(sources, frames)


def _sdr_of_pair(
    estimate: Tensor, reference: Tensor, window: int | None, hop: int | None, silent: Silence
) -> Tensor:
    """SDR of frames of a pair in memory, ``(sources, frames)`` in float64."""
    check_finite(estimate, name="estimate")
    check_finite(reference, name="reference")
    window, hop, count = _frames(estimate.shape[-1], window, hop)
    parts = []
    for t in range(count):
        part = slice(t * hop, t * hop + window)
        frame = [x[..., part].double().unsqueeze(-2) for x in (estimate, reference)]
        parts.append(_sdr_of_frames(frame[0], frame[1], silent))
    return torch.cat(parts, dim=-1)


def _sdr_of_frames(estimate: Tensor, reference: Tensor, policy: Silence) -> Tensor:
    """SDR of ``(sources, channels, frames, window)``."""
    error = estimate - reference
    signal = torch.linalg.vecdot(reference, reference).sum(1)
    value = _db(signal, torch.linalg.vecdot(error, error).sum(1))
    if policy == "nan":
        return value.masked_fill(signal == 0, torch.nan)
    if policy == "skip_source":
        quiet = ~(estimate != 0).any(-1).any(1)
        return value.masked_fill((signal == 0) | quiet, torch.nan)
    quiet = ~((reference.sum(1) != 0).any(-1) & (estimate.sum(1) != 0).any(-1)).all(0)
    return value.masked_fill(quiet, torch.nan)


def _pad_frames(values: list[Tensor]) -> Tensor:
    """Stack ``(..., frames)`` of different length, with NaN behind the short ones."""
    longest = max(value.shape[-1] for value in values)
    filled = [
        torch.nn.functional.pad(value, (0, longest - value.shape[-1]), value=torch.nan)
        if value.shape[-1] < longest
        else value
        for value in values
    ]
    return torch.stack(filled)


def _stack(
    values: list[BSSEval], lead: torch.Size, dtype: torch.dtype, device: torch.device
) -> BSSEval:
    """Join the tracks of a batch."""
    joined = {}
    for entry in fields(BSSEval):
        parts = [getattr(value, entry.name) for value in values]
        if entry.name == "residual_dbfs":
            whole = torch.stack(parts)
        else:
            whole = _pad_frames([part.double() for part in parts])
        kind = {"permutation": torch.int64, "silent": torch.bool}.get(entry.name, dtype)
        if kind != dtype:
            whole = whole.nan_to_num(nan=1.0 if kind == torch.bool else -1.0)
        joined[entry.name] = whole.reshape(*lead, *whole.shape[1:]).to(device, kind)
    return BSSEval(**joined)
