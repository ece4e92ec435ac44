"""What is wrong with an estimate up to its scale: other sources, or something else."""

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from sonograd.errors import ParameterError, ShapeError
from sonograd.functional._pairs import (
    Lengths,
    center,
    check_finite,
    prepare,
    ratio_db,
    result_dtype,
)
from sonograd.functional.pairwise import inner_products

__all__ = ["SISARDefinition", "ScaleInvariantBSS", "pairwise_si_sdr", "si_bss_eval"]

SISARDefinition: TypeAlias = Literal["target", "projection"]


class ScaleInvariantBSS(NamedTuple):
    """Scale-invariant ratios in dB, ``(..., sources)`` each."""

    si_sdr: Tensor
    si_sir: Tensor
    si_sar: Tensor


def si_bss_eval(
    estimate: Tensor,
    reference: Tensor,
    *,
    si_sar: SISARDefinition = "target",
    zero_mean: bool = False,
    lengths: Lengths | None = None,
) -> ScaleInvariantBSS:
    r"""Scale-invariant SDR, SIR and SAR, in dB; higher is better.

    With the target :math:`t = \alpha s_j` as in :func:`si_sdr`, the projection :math:`p` of the
    estimate on the span of all references, and the interference :math:`p - t`,

    .. math::
        \mathrm{SI\text{-}SIR} = 10 \log_{10} \frac{\|t\|^2}{\|p - t\|^2}, \qquad
        \mathrm{SI\text{-}SAR} = 10 \log_{10} \frac{\|t\|^2}{\|\hat s - p\|^2}
        \;\text{or}\; 10 \log_{10} \frac{\|p\|^2}{\|\hat s - p\|^2}.

    Two definitions of the last one are published: ``"target"`` is that of Le Roux et al., *SDR -
    half-baked or well done?*, doi:10.1109/ICASSP.2019.8683855; ``"projection"`` is that of the
    package fast_bss_eval (Scheibler, doi:10.1109/ICASSP43922.2022.9746361), as in BSS eval.

    Args:
        estimate: ``(..., sources, samples)``, in the order of the references.
        reference: Same shape. Sources may be silent or repeat each other.
        si_sar: Which definition of the SI-SAR.
        zero_mean: Subtract the mean of all signals first.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        Three tensors ``(..., sources)``. Silent references give ``nan``; a single source, which
        nothing interferes with, has an SI-SIR of ``inf``.

    Raises:
        ShapeError: The shapes differ, hold no samples, or are no sets of sources.
        AudioError: A sample is NaN or infinite.
    """
    if si_sar not in {"target", "projection"}:
        raise ParameterError(f"si_sar is {si_sar!r}; expected 'target' or 'projection'")
    dtype = result_dtype(estimate)
    if estimate.ndim < 2:
        raise ShapeError(
            f"estimate has shape {tuple(estimate.shape)}; expected (..., sources, samples)"
        )
    estimate, reference, count = prepare(estimate, reference, lengths)
    if zero_mean:
        estimate, reference = center(estimate, count), center(reference, count)
    own = reference.square().sum(-1, keepdim=True)
    target = (estimate * reference).sum(-1, keepdim=True) / own * reference
    projection = target
    if estimate.shape[-2] > 1:
        # Unit references: a quiet one must not look like a dependent one.
        unit = reference / own.clamp(min=torch.finfo(own.dtype).tiny).sqrt()
        gram = torch.linalg.pinv(unit @ unit.mT, rtol=1e-12, hermitian=True)
        projection = estimate @ unit.mT @ gram @ unit
    artifacts = (estimate - projection).square().sum(-1)
    wanted = target.square().sum(-1)
    explained = wanted if si_sar == "target" else projection.square().sum(-1)
    return ScaleInvariantBSS(
        ratio_db(wanted, (target - estimate).square().sum(-1)).to(dtype),
        ratio_db(wanted, (projection - target).square().sum(-1)).to(dtype),
        (ratio_db(explained, artifacts) + 0 * wanted / own.squeeze(-1)).to(dtype),
    )


def pairwise_si_sdr(
    estimate: Tensor, reference: Tensor, *, zero_mean: bool = False, lengths: Lengths | None = None
) -> Tensor:
    r"""SI-SDR of every estimate against every reference, in dB, from inner products alone.

    .. math::
        10 \log_{10} \frac{c}{1 - c}, \qquad
        c = \frac{\langle \hat s_i, s_j\rangle^2}{\|\hat s_i\|^2 \|s_j\|^2}

    The inner products are summed in float64, so that values are exact to 0.01 dB up to 100 dB.
    Nothing is differentiated.

    Args:
        estimate: ``(..., estimates, samples)``.
        reference: ``(..., references, samples)``; the numbers of signals may differ.
        zero_mean: Subtract the mean of all signals first.
        lengths: Samples that count, ``(batch,)``; all if None.

    Returns:
        ``(..., estimates, references)``, as :func:`si_sdr` of each pair.

    >>> signals = torch.tensor([[1.0, 0.1], [0.1, 1.0]])
    >>> pairwise_si_sdr(signals, torch.eye(2)).round()
    tensor([[ 20., -20.],
            [-20.,  20.]])
    """
    dtype = result_dtype(estimate)
    if lengths is not None:
        estimate, count = prepare(estimate, estimate, lengths)[1:]
        reference = prepare(reference, reference, lengths)[0]
        if zero_mean:
            estimate, reference = center(estimate, count), center(reference, count)
    squares, products, energies = inner_products(
        estimate, reference, zero_mean=zero_mean and lengths is None
    )
    check_finite(squares, name="the energy of estimate")
    check_finite(energies, name="the energy of reference")
    whole = squares[..., :, None] * energies[..., None, :]
    products = products.square()
    return ratio_db(products, (whole - products).clamp(min=0.0)).to(dtype)
