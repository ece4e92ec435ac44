"""Distances between magnitude spectrograms, with their gradient in closed form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sonograd.errors import ParameterError, ShapeError
from sonograd.shapes import check_floating, check_same_shape

__all__ = ["Resolution", "SpectralWeights", "magnitude_distance", "stft_distance"]


@dataclass(frozen=True)
class Resolution:
    """A short-time Fourier transform: lengths in samples.

    Attributes:
        n_fft: Length of the transform.
        hop_length: Samples between frames.
        win_length: Length of the window, which is centered in the frame; at most ``n_fft``.
    """

    n_fft: int
    hop_length: int
    win_length: int

    def __post_init__(self) -> None:
        """Refuse lengths that are no transform."""
        if not 1 <= self.win_length <= self.n_fft:
            raise ParameterError(
                f"win_length is {self.win_length} for n_fft {self.n_fft}; "
                "expected a length in [1, n_fft]"
            )
        if self.hop_length < 1:
            raise ParameterError(f"hop_length is {self.hop_length}; expected at least 1")


@dataclass(frozen=True)
class SpectralWeights:
    """How much each distance between two magnitudes counts; all at least 0, one above.

    Attributes:
        convergence: Of the norm of the difference over the norm of the reference.
        log_magnitude: Of the mean absolute difference of natural logarithms.
        magnitude: Of the mean absolute difference.
    """

    convergence: float = 1.0
    log_magnitude: float = 1.0
    magnitude: float = 0.0

    def __post_init__(self) -> None:
        """Refuse negative weights."""
        for name in ("convergence", "log_magnitude", "magnitude"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ParameterError(f"the weight {name} is {value}; expected a number >= 0")


def stft_distance(
    estimate: Tensor,
    reference: Tensor,
    *,
    resolutions: Sequence[Resolution],
    windows: Sequence[Tensor],
    weights: SpectralWeights | None = None,
    floor: float = 1e-4,
    quiet: float = 1e-3,
    batch_coupled: bool = False,
) -> Tensor:
    r"""Mean over resolutions of the distances of :func:`magnitude_distance`, fast.

    Magnitudes are :math:`\max(|X|, f)` with the floor :math:`f`, of a transform without scaling
    whose signal is mirrored at both ends. The gradient is computed along with the value, signal by
    signal, and only it is kept: memory does not grow with the number of resolutions. Twice
    differentiating is not possible.

    Args:
        estimate: ``(..., samples)``.
        reference: The same shape; gets no gradient.
        resolutions: At least one.
        windows: One per resolution, ``(win_length,)``.
        weights: Of the three distances; convergence and logarithm if None.
        floor: Smallest magnitude, positive; below it nothing has a gradient.
        quiet: Amplitude (root mean square of white noise) below which a reference counts as this
            loud in the convergence.
        batch_coupled: Norms over all signals together, as the losses of the literature have
            them; then the result is a scalar, and ``quiet`` is not used.

    Returns:
        One value per signal, ``(...)``, or a scalar.

    Raises:
        ShapeError: If the shapes differ, are empty or are not floating point.

    >>> resolution, x = Resolution(64, 16, 64), torch.randn(2, 400)
    >>> stft_distance(x, x, resolutions=[resolution], windows=[torch.hann_window(64)])
    tensor([0., 0.])
    """
    check_floating(estimate, name="estimate")
    check_same_shape(estimate, reference)
    if estimate.numel() == 0:
        raise ShapeError(f"estimate has shape {tuple(estimate.shape)}; there is nothing to compare")
    if not floor > 0:
        raise ParameterError(f"floor is {floor}; expected a positive number")
    if not resolutions or len(resolutions) != len(windows):
        raise ParameterError(
            f"got {len(resolutions)} resolutions and {len(windows)} windows; "
            "expected as many of each, at least one"
        )
    samples = estimate.shape[-1]
    plan = _Plan(
        tuple(
            _Transform(resolution, window.to(estimate), samples)
            for resolution, window in zip(resolutions, windows, strict=True)
        ),
        weights or SpectralWeights(),
        floor,
        quiet,
        batch_coupled,
    )
    flat = estimate.reshape(-1, samples), reference.detach().reshape(-1, samples)
    values: Tensor = _StftDistance.apply(*flat, plan)  # type: ignore[no-untyped-call]
    return values if batch_coupled else values.reshape(estimate.shape[:-1])


def magnitude_distance(
    estimate: Tensor,
    reference: Tensor,
    *,
    weights: SpectralWeights | None = None,
    quiet_norm: float = 0.0,
    squared: bool = False,
    batch_coupled: bool = False,
) -> Tensor:
    r"""Compare magnitudes: spectral convergence, and differences with and without logarithm.

    .. math::
        w_c \frac{\|A - B\|_F}{\max(\|B\|_F, q)}
        + \frac{w_l}{FT} \sum_{f,t} |\ln A_{ft} - \ln B_{ft}|
        + \frac{w_m}{FT} \sum_{f,t} |A_{ft} - B_{ft}|

    Arik et al., *Fast spectrogram inversion using multi-head convolutional neural networks*,
    doi:10.1109/LSP.2018.2880284.

    Args:
        estimate: Positive magnitudes :math:`A`, ``(..., bins, frames)``.
        reference: Positive magnitudes :math:`B`, the same shape.
        weights: :math:`w_c, w_l, w_m`; 1, 1, 0 if None.
        quiet_norm: :math:`q`, what the norm of the reference is at least taken for.
        squared: Square the differences in the two sums.
        batch_coupled: Norms over all signals together; then the result is a scalar.

    Returns:
        One value per signal, ``(...)``, or a scalar.
    """
    check_same_shape(estimate, reference)
    weights = weights or SpectralWeights()
    dims = None if batch_coupled else (-2, -1)
    value = estimate.new_zeros(() if batch_coupled else estimate.shape[:-2])
    if weights.convergence:
        difference = _norm(estimate - reference, dims)
        value = value + weights.convergence * difference / _norm(reference, dims).clamp(
            min=max(quiet_norm, torch.finfo(estimate.dtype).tiny)
        )
    if weights.log_magnitude:
        logs = estimate.log() - reference.log()
        value = value + weights.log_magnitude * _power(logs, squared).mean(dims)
    if weights.magnitude:
        value = value + weights.magnitude * _power(estimate - reference, squared).mean(dims)
    return value


def _power(x: Tensor, squared: bool) -> Tensor:
    return x.square() if squared else x.abs()


def _norm(x: Tensor, dims: tuple[int, ...] | None) -> Tensor:
    # Its gradient at zero is zero.
    norm: Tensor = torch.linalg.vector_norm(x, dim=dims)
    return norm


class _Transform:
    """One resolution for signals of one length: spectra, and the adjoint of taking them."""

    def __init__(self, resolution: Resolution, window: Tensor, samples: int) -> None:
        if window.shape != (resolution.win_length,):
            raise ShapeError(
                f"a window has shape {tuple(window.shape)}; expected ({resolution.win_length},)"
            )
        self.n_fft = resolution.n_fft
        self.hop = resolution.hop_length
        self.window = window
        self.samples = samples
        self.half = resolution.n_fft // 2
        self.offset = (resolution.n_fft - resolution.win_length) // 2
        self.frames = 1 + (samples + 2 * self.half - resolution.n_fft) // resolution.hop_length
        self.bins = self.half + 1
        period = max(2 * (samples - 1), 1)
        outside = torch.arange(1, self.half + 1, device=window.device)
        before, after = outside.flip(0) % period, (outside + samples - 1) % period
        self.before = torch.minimum(before, period - before).clamp(max=samples - 1)
        self.after = torch.minimum(after, period - after).clamp(max=samples - 1)
        self.scratch: dict[str, Tensor] = {}

    def memory(self, name: str, *shape: int) -> Tensor:
        """Return memory that is kept from block to block; zeros at first."""
        found = self.scratch.get(name)
        if found is None or found.shape != shape:
            found = self.scratch[name] = self.window.new_zeros(shape)
        return found

    def spectra(self, x: Tensor) -> Tensor:
        """Map ``(items, samples)`` to ``(items, frames, bins)``."""
        padded = torch.cat([x[:, self.before], x, x[:, self.after]], dim=-1)
        length = len(self.window)
        frames = padded[:, self.offset :].unfold(-1, length, self.hop)[:, : self.frames]
        buffer = self.memory("frames", x.shape[0], self.frames, self.n_fft)
        # What lies outside the window was zero from the start and remains so.
        torch.mul(frames, self.window, out=buffer[..., self.offset : self.offset + length])
        spectra: Tensor = torch.fft.rfft(buffer)
        return spectra

    def squares(self, spectra: Tensor) -> Tensor:
        """Return squared magnitudes; several times as fast as by ``abs``."""
        parts = torch.view_as_real(spectra)
        squares = self.memory("squares", *parts.shape)
        torch.square(parts, out=squares)
        return squares[..., 0] + squares[..., 1]

    def adjoint(self, spectra: Tensor) -> Tensor:
        """Map ``(items, frames, bins)``, which is overwritten, to ``(items, samples)``.

        The real inner product with :meth:`spectra` of any signal is that of the result with the
        signal.
        """
        # The inverse counts all bins twice but the outer ones.
        spectra[..., 0] *= 2
        if self.n_fft % 2 == 0:
            spectra[..., -1] *= 2
        frames = torch.fft.irfft(spectra, self.n_fft, norm="forward")
        length, hop, half_window = len(self.window), self.hop, 0.5 * self.window
        pieces = -(-length // hop)
        total = frames.new_zeros(frames.shape[0], self.frames - 1 + pieces, hop)
        for piece in range(pieces):
            part = half_window[piece * hop : (piece + 1) * hop]
            begin = self.offset + piece * hop
            rows = total[:, piece : piece + self.frames, : len(part)]
            rows.addcmul_(frames[..., begin : begin + len(part)], part)
        padded = frames.new_zeros(frames.shape[0], self.samples + 2 * self.half)
        covered = total.flatten(1)[:, : padded.shape[1] - self.offset]
        padded[:, self.offset : self.offset + covered.shape[1]] = covered
        x: Tensor = padded[:, self.half : self.half + self.samples].contiguous()
        x.index_add_(1, self.before, padded[:, : self.half])
        x.index_add_(1, self.after, padded[:, self.half + self.samples :])
        return x


@dataclass(frozen=True)
class _Plan:
    """What to compare, and how."""

    transforms: tuple[_Transform, ...]
    weights: SpectralWeights
    floor: float
    quiet: float
    batch_coupled: bool


class _StftDistance(torch.autograd.Function):
    """The distance and, while its spectra are at hand, its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, plan: _Plan) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        compare = _compare_coupled if plan.batch_coupled else _compare_items
        gradient = torch.zeros_like(x) if wanted else None
        values = [compare(x, y, plan, transform, gradient) for transform in plan.transforms]
        if gradient is not None:
            ctx.save_for_backward(gradient.div_(len(values)))
        return torch.stack(values).mean(dim=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (upstream.unsqueeze(-1) if upstream.ndim else upstream), None, None


def _blocks(x: Tensor, transform: _Transform) -> list[slice]:
    """Cut the items so that one block fits the cache of a core, or a part of a GPU."""
    budget = 1 << (20 if x.device.type == "cpu" else 26)
    size = max(1, budget // (transform.frames * transform.bins))
    return [slice(begin, begin + size) for begin in range(0, x.shape[0], size)]


class _Block:
    """Spectra of some items, their magnitudes, and what distances need of them."""

    def __init__(self, x: Tensor, y: Tensor, transform: _Transform, plan: _Plan) -> None:
        self.plan = plan
        self.transform = transform
        self.spectra = transform.spectra(x)
        lowest = plan.floor**2
        power = transform.squares(self.spectra)
        # A comparison of all bins is only worth its time where it finds something.
        low = power <= lowest if x.device.type != "cpu" or power.amin() <= lowest else None
        self.inaudible = low
        power.clamp_(min=lowest)
        other = transform.squares(transform.spectra(y)).clamp_(min=lowest)
        self.magnitude = power.sqrt()
        reference = other.sqrt()
        self.energy = _inner(reference)
        self.difference = torch.sub(self.magnitude, reference, out=reference)
        self.error = _inner(self.difference)
        weights, bins = plan.weights, transform.frames * transform.bins
        self.rest = torch.zeros_like(self.error)
        if weights.log_magnitude:
            logs = power.div_(other).log_().abs_().sum(dim=(1, 2))
            self.rest += 0.5 * weights.log_magnitude / bins * logs
        if weights.magnitude:
            self.rest += weights.magnitude / bins * self.difference.abs().sum(dim=(1, 2))

    def slope(self) -> Tensor:
        """Derivative of :attr:`rest` by the magnitudes."""
        weights, bins = self.plan.weights, self.transform.frames * self.transform.bins
        sign = self.difference.sign()
        if not weights.magnitude:
            return sign.div_(self.magnitude).mul_(weights.log_magnitude / bins)
        return sign.mul_((weights.log_magnitude / self.magnitude + weights.magnitude) / bins)

    def to_signal(self, slope: Tensor) -> Tensor:
        """Turn a derivative by the magnitudes, overwritten, into one by the signals."""
        slope.div_(self.magnitude)
        if self.inaudible is not None:
            slope.masked_fill_(self.inaudible, 0.0)
        # As complex numbers the product is an operation of whole vectors.
        return self.transform.adjoint(slope.to(self.spectra.dtype).mul_(self.spectra))


def _compare_items(
    x: Tensor, y: Tensor, plan: _Plan, transform: _Transform, gradient: Tensor | None
) -> Tensor:
    """Return one value per item, and add its gradient to ``gradient``."""
    values = []
    bins = transform.frames * transform.bins
    quiet = plan.quiet * (transform.window.square().sum() * bins).sqrt()
    for items in _blocks(x, transform):
        block = _Block(x[items], y[items], transform, plan)
        norm = torch.maximum(block.energy.sqrt(), quiet)
        error = block.error.sqrt()
        values.append(plan.weights.convergence * error / norm + block.rest)
        if gradient is not None:
            factor = plan.weights.convergence / (error.clamp(min=1e-30) * norm)
            slope = block.slope().addcmul_(block.difference, factor[:, None, None])
            gradient[items] += block.to_signal(slope)
    return torch.cat(values)


def _compare_coupled(
    x: Tensor, y: Tensor, plan: _Plan, transform: _Transform, gradient: Tensor | None
) -> Tensor:
    """Return one value for all items, and add its gradient to ``gradient``.

    The factor of the convergence is known only at the end, so that its gradient is kept apart.
    """
    count = x.shape[0]
    convergence = None if gradient is None else torch.zeros_like(gradient)
    error, energy, rest = x.new_zeros(3).unbind()
    for items in _blocks(x, transform):
        block = _Block(x[items], y[items], transform, plan)
        error = error + block.error.sum()
        energy = energy + block.energy.sum()
        rest = rest + block.rest.sum() / count
        if gradient is not None and convergence is not None:
            if plan.weights.log_magnitude or plan.weights.magnitude:
                gradient[items] += block.to_signal(block.slope()).div_(count)
            if plan.weights.convergence:
                convergence[items] += block.to_signal(block.difference)
    error, norm = error.sqrt(), energy.sqrt()
    if gradient is not None and convergence is not None:
        factor = plan.weights.convergence / (error.clamp(min=1e-30) * norm)
        gradient.addcmul_(convergence, factor)
    return plan.weights.convergence * error / norm + rest


def _inner(x: Tensor) -> Tensor:
    """Return the squared norm of each item."""
    flat = x.flatten(1)
    if len(flat) == 1:
        return torch.dot(flat[0], flat[0]).unsqueeze(0)
    inner: Tensor = torch.linalg.vecdot(flat, flat)
    return inner
