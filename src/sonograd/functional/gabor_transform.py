"""Transforms of signals, or of slices of them, by a Gabor frame."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as nnf

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._settings import check_count, check_finite
from sonograd.functional.framing import excerpt, extend, flat_rows, may_work_in_pieces
from sonograd.functional.gabor_frame import GaborFrame, GaborSpectrum
from sonograd.functional.gabor_pieces import (
    Place,
    analyze_in_pieces,
    join_in_pieces,
    synthesize_in_pieces,
)

__all__ = [
    "check_spectrum",
    "gabor_analysis",
    "gabor_synthesis",
    "in_pieces",
    "slice_count",
    "slice_window",
    "sliced_analysis",
    "sliced_synthesis",
]


def gabor_analysis(x: Tensor, frame: GaborFrame) -> GaborSpectrum:
    """Transform real signals ``(..., size)``."""
    if x.shape[-1] != frame.size:
        raise ShapeError(f"x has {x.shape[-1]} samples; this frame was made for {frame.size}")
    if 0 in x.shape:
        return _nothing(x, frame)
    if in_pieces(x):
        flat = x.reshape(1, -1, frame.size).contiguous()
        found = analyze_in_pieces(lambda place: flat[place], (1, flat.shape[1]), x, frame)
        return _with_axes(found, x.shape[:-1])
    tables = frame.indexed().tables
    assert tables is not None
    spectrum = torch.fft.rfft(x)
    low = spectrum[..., : len(frame.low_window)] * frame.low_window
    high = spectrum[..., -len(frame.high_window) :].conj_physical() * frame.high_window
    octaves = []
    for band, points, windows in zip(frame.bands, tables.points, tables.windows, strict=True):
        chosen = spectrum.index_select(-1, points).unflatten(-1, (band.bins, band.frames))
        octaves.append(torch.fft.ifft(chosen * windows))
    return GaborSpectrum(
        torch.fft.irfft(low, n=frame.low_frames, norm="forward") / frame.size,
        tuple(octaves),
        torch.fft.irfft(high.flip(-1), n=frame.high_frames, norm="forward") / frame.size,
        frame.size,
    )


def gabor_synthesis(spectrum: GaborSpectrum, frame: GaborFrame) -> Tensor:
    """Return the signals ``(..., size)`` with these coefficients; the inverse of the analysis.

    Of coefficients that no signal has, it is the signal nearest in the least-squares sense.
    """
    lead = spectrum.low.shape[:-1]
    if 0 in spectrum.low.shape:
        return spectrum.low.new_zeros(*lead, frame.size)
    if in_pieces(*spectrum.parts):
        rows = synthesize_in_pieces(_with_axes(spectrum, (1, math.prod(lead))), frame)
        return rows.reshape(*lead, frame.size)
    tables = frame.indexed().tables
    assert tables is not None
    parts = [torch.fft.rfft(spectrum.low)]
    parts.extend(torch.fft.fft(octave).flatten(-2) for octave in spectrum.octaves)
    parts.append(torch.fft.rfft(spectrum.high).conj_physical())
    values = torch.cat(parts, -1)
    falling = values.index_select(-1, tables.places[0]) * tables.weights[0]
    rising = values.index_select(-1, tables.places[1]) * tables.weights[1]
    signal: Tensor = torch.fft.irfft(falling + rising, n=frame.size)
    return signal


def in_pieces(*tensors: Tensor) -> bool:
    """Tell whether signals or coefficients are transformed bin after bin, without tables."""
    alike = len({tensor.dtype.to_real() for tensor in tensors}) == 1
    on_cpu = all(tensor.device.type == "cpu" for tensor in tensors)
    return alike and on_cpu and may_work_in_pieces(*tensors)


def _with_axes(spectrum: GaborSpectrum, lead: tuple[int, ...]) -> GaborSpectrum:
    """Return coefficients with other leading axes."""
    return GaborSpectrum(
        spectrum.low.reshape(*lead, spectrum.low.shape[-1]),
        tuple(octave.reshape(*lead, *octave.shape[-2:]) for octave in spectrum.octaves),
        spectrum.high.reshape(*lead, spectrum.high.shape[-1]),
        spectrum.samples,
    )


def _nothing(x: Tensor, frame: GaborFrame) -> GaborSpectrum:
    lead, dtype = x.shape[:-1], torch.promote_types(x.dtype, torch.complex64)
    return GaborSpectrum(
        x.new_zeros(*lead, frame.low_frames),
        tuple(x.new_zeros(*lead, band.bins, band.frames, dtype=dtype) for band in frame.bands),
        x.new_zeros(*lead, frame.high_frames),
        frame.size,
    )


def slice_count(samples: int, *, size: int, overlap: int) -> int:
    """Return how many slices hold every sample of a signal."""
    step = size - overlap
    return (samples + overlap + step - 1) // step


def slice_window(size: int, overlap: int) -> Tensor:
    """Return a window whose squares, one every ``size - overlap`` samples, sum to one.

    In float64 on the CPU; it is 1 but for a quarter of a sine at either end.
    """
    if not 1 <= overlap <= size // 2:
        raise ParameterError(f"overlap is {overlap}; expected 1 to {size // 2}, half a slice")
    place = torch.arange(overlap, dtype=torch.float64, device="cpu") + 0.5
    window = torch.ones(size, dtype=torch.float64, device="cpu")
    window[:overlap] = torch.sin(math.pi / 2 * place / overlap)
    window[-overlap:] = window[:overlap].flip(0)
    return window


def sliced_analysis(x: Tensor, frame: GaborFrame, window: Tensor, *, overlap: int) -> GaborSpectrum:
    """Transform signals ``(..., samples)`` in windowed slices that overlap.

    The first slice begins ``overlap`` samples before the signal, so that the window is 1 there.
    """
    size, samples = frame.size, x.shape[-1]
    count = slice_count(samples, size=size, overlap=overlap)
    total = (count - 1) * (size - overlap) + size
    if total == size or 0 in x.shape or not in_pieces(x):
        padded = nnf.pad(x, (overlap, total - overlap - samples))
        return gabor_analysis(padded.unfold(-1, size, size - overlap) * window, frame)
    flat = flat_rows(x)

    def cut(place: Place) -> Tensor:
        items, rows = place
        start = rows.start * (size - overlap) - overlap
        stop = (rows.stop - 1) * (size - overlap) - overlap + size
        if start >= 0 and stop <= samples:
            part = flat[items, start:stop]
        else:
            part = extend(flat[items], start, stop, pad_mode="constant")
        return part.unfold(-1, size, size - overlap) * window

    found = analyze_in_pieces(cut, (len(flat), count), x, frame)
    return _with_axes(found, (*x.shape[:-1], count))


def sliced_synthesis(
    spectrum: GaborSpectrum, frame: GaborFrame, window: Tensor, *, overlap: int
) -> Tensor:
    """Return the signals ``(..., samples)`` that were sliced and transformed."""
    *lead, count, _ = spectrum.low.shape
    samples = spectrum.samples
    if 0 not in spectrum.low.shape and in_pieces(*spectrum.parts):
        flat = _with_axes(spectrum, (math.prod(lead), count))
        joined = join_in_pieces(flat, frame, window, overlap=overlap)
        return joined[..., overlap : overlap + samples].reshape(*lead, samples)
    faded = gabor_synthesis(spectrum, frame) * window
    step = frame.size - overlap
    tail = nnf.pad(faded[..., :-1, step:], (0, step - overlap, 1, 0))
    joined = nnf.pad((faded[..., :step] + tail).flatten(-2), (0, overlap))
    return excerpt(joined, overlap, overlap + samples)


def check_spectrum(spectrum: object) -> None:
    """Refuse what is no spectrum, or one whose parts do not belong together.

    Raises:
        ShapeError: If it is no :class:`GaborSpectrum`, or its parts do not agree.
        ParameterError: If a value is not finite.
    """
    if not isinstance(spectrum, GaborSpectrum):
        raise ShapeError(
            f"spectrum is a {type(spectrum).__name__}; expected the GaborSpectrum that this "
            "transform gives"
        )
    check_count("samples of spectrum", spectrum.samples, least=0)
    octaves = spectrum.octaves
    if isinstance(octaves, Tensor) or not isinstance(octaves, Sequence) or not octaves:
        raise ShapeError(
            f"octaves of spectrum is a {type(octaves).__name__}; expected a tuple of tensors"
        )
    for name, part in (("low", spectrum.low), ("high", spectrum.high)):
        _check_part(part, name, torch.float32, torch.float64)
    for number, part in enumerate(octaves):
        _check_part(part, f"octave {number}", torch.complex64, torch.complex128)
    leads = [spectrum.low.shape[:-1], *(x.shape[:-2] for x in octaves), spectrum.high.shape[:-1]]
    if any(lead != leads[0] for lead in leads):
        raise ShapeError(
            "the parts of spectrum, from low to high, have leading axes "
            f"{[tuple(lead) for lead in leads]}; expected the same for all"
        )
    for part in spectrum.parts:
        check_finite(part, "spectrum")


def _check_part(part: object, name: str, *allowed: torch.dtype) -> None:
    """Refuse what is no tensor, has too few axes, or values of another kind."""
    if not isinstance(part, Tensor):
        raise ShapeError(f"{name} of spectrum is a {type(part).__name__}; expected a tensor")
    axes = 2 if allowed[0].is_complex else 1
    if part.dtype not in allowed or part.ndim < axes:
        raise ShapeError(
            f"{name} of spectrum has shape {tuple(part.shape)} and dtype {part.dtype}; expected "
            f"{axes} axes or more, of {allowed[0]} or {allowed[1]}"
        )
