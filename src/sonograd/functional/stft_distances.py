"""Distances between magnitude spectrograms, with their gradient in closed form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._framed_transform import FramedTransform
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
    signal, and only it is kept: memory does not grow with the number of resolutions, nor, unless
    the batch is coupled, with that of signals. Differentiating twice is not possible.

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
            FramedTransform(resolution, window.to(estimate), samples)
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


@dataclass(frozen=True)
class _Plan:
    """What to compare, and how."""

    transforms: tuple[FramedTransform, ...]
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
        values = []
        for transform in plan.transforms:
            values.append(compare(x, y, plan, transform, gradient))
            transform.scratch.clear()
        if gradient is not None:
            ctx.save_for_backward(gradient.div_(len(values)))
        return torch.stack(values).mean(dim=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (upstream.unsqueeze(-1) if upstream.ndim else upstream), None, None


class _Block:
    """Spectra of some frames of some items, and what distances need of them.

    Attributes:
        error: Squared norm of the difference of magnitudes, ``(items,)``.
        energy: That of the magnitudes of the reference.
        rest: What the frames add to all distances but the convergence.
    """

    def __init__(self, x: Tensor, y: Tensor, transform: FramedTransform, plan: _Plan) -> None:
        self.plan = plan
        self.transform = transform
        self.spectra = transform.spectra(x)
        lowest = plan.floor**2
        power = transform.squares(self.spectra, "power")
        # A comparison of all bins is only worth its time where it finds something.
        low = power <= lowest if x.device.type != "cpu" or power.amin() <= lowest else None
        self.inaudible = low
        power.clamp_(min=lowest)
        other = transform.squares(transform.spectra(y), "other").clamp_(min=lowest)
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

    def slope(self, share: float) -> Tensor:
        """Derivative of ``share`` times :attr:`rest`, in memory of the transform."""
        weights = self.plan.weights
        bins = self.transform.frames * self.transform.bins / share
        memory = self.transform.memory("other", *self.spectra.shape)
        sign = torch.sign(self.difference, out=memory)
        if not weights.magnitude:
            return sign.div_(self.magnitude).mul_(weights.log_magnitude / bins)
        return sign.mul_((weights.log_magnitude / self.magnitude + weights.magnitude) / bins)

    def to_spectra(self, slope: Tensor) -> Tensor:
        """Turn a derivative by the magnitudes, which is overwritten, into one by the spectra."""
        slope.div_(self.magnitude)
        if self.inaudible is not None:
            slope.masked_fill_(self.inaudible, 0.0)
        # A product of complex numbers is faster than one of complex and real ones.
        spectra = self.spectra
        product = self.transform.memory("product", *spectra.shape, dtype=spectra.dtype)
        return product.copy_(slope).mul_(spectra)


def _compare_items(
    x: Tensor, y: Tensor, plan: _Plan, transform: FramedTransform, gradient: Tensor | None
) -> Tensor:
    """Return one value per item, and add its gradient to ``gradient``."""
    values = []
    weight = plan.weights.convergence
    bins = transform.frames * transform.bins
    quiet = plan.quiet * (transform.window.square().sum() * bins).sqrt()
    for items in transform.cut(x)[0]:
        (error, energy, rest), blocks = _analyze(x[items], y[items], plan, transform, gradient)
        error, norm = error.sqrt(), torch.maximum(energy.sqrt(), quiet)
        values.append(weight * error / norm + rest)
        if gradient is not None:
            # The factor of the convergence is known only now.
            factor = weight / (error.clamp(min=1e-30) * norm)
            gradient[items] += _derive(blocks, factor, 1.0)
    return torch.cat(values)


def _compare_coupled(
    x: Tensor, y: Tensor, plan: _Plan, transform: FramedTransform, gradient: Tensor | None
) -> Tensor:
    """Return one value for all items, and add its gradient to ``gradient``.

    All spectra of one resolution are kept until the norms over all items are known.
    """
    weight, count = plan.weights.convergence, x.shape[0]
    groups = transform.cut(x)[0]
    parts = [_analyze(x[items], y[items], plan, transform, gradient) for items in groups]
    error, energy, rest = torch.cat([sums for sums, _ in parts], dim=1).sum(dim=1)
    error, norm = error.sqrt(), energy.sqrt()
    if gradient is not None:
        factor = weight / (error.clamp(min=1e-30) * norm)
        for items, (_, blocks) in zip(groups, parts, strict=True):
            gradient[items] += _derive(blocks, factor.reshape(1), 1 / count)
    value: Tensor = weight * error / norm + rest / count
    return value


def _analyze(
    x: Tensor, y: Tensor, plan: _Plan, transform: FramedTransform, gradient: Tensor | None
) -> tuple[Tensor, list[tuple[int, _Block]]]:
    """Return errors, energies and the rest, ``(3, items)``; for a gradient also all blocks.

    Blocks come with the number of their first frame.
    """
    ours, theirs = transform.frame(x), transform.frame(y)
    sums, blocks = ours.new_zeros(3, ours.shape[0]), []
    for cut in transform.cut(x)[1]:
        block = _Block(ours[:, cut], theirs[:, cut], transform, plan)
        sums += torch.stack([block.error, block.energy, block.rest])
        if gradient is not None:
            blocks.append((cut.start, block))
    return sums, blocks


def _derive(blocks: list[tuple[int, _Block]], factor: Tensor, share: float) -> Tensor:
    """Return the gradient of some items, ``(items, samples)``.

    Args:
        blocks: All of the items.
        factor: Of the difference of magnitudes, ``(items,)`` or ``(1,)``.
        share: Of the derivative of the rest.
    """
    transform, items = blocks[0][1].transform, len(blocks[0][1].spectra)
    total = transform.empty_sum(items)
    for first, block in blocks:
        slope = block.slope(share).addcmul_(block.difference, factor[:, None, None])
        transform.add_frames(total, block.to_spectra(slope), first)
    return transform.fold(total)


def _inner(x: Tensor) -> Tensor:
    """Return the squared norm of each item."""
    flat = x.flatten(1)
    if len(flat) == 1:
        return torch.dot(flat[0], flat[0]).unsqueeze(0)
    inner: Tensor = torch.linalg.vecdot(flat, flat)
    return inner
