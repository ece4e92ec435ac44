"""Accumulators of energy ratios; all channels of a target count as one signal."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sonograd.functional._pairs import ratio_db
from sonograd.functional.ratios import (
    msst_sdr,
    sa_sdr,
    sd_sdr,
    si_sdr,
    si_snr,
    snr,
    thresholded_snr,
    usdr,
)
from sonograd.functional.scale_invariant_bss import si_bss_eval
from sonograd.metrics._blocks import Sums, error_energy
from sonograd.metrics.base import Accumulator, Blocks

__all__ = ["MSSTSDR", "SASDR", "SDSDR", "SIBSS", "SISDR", "SISNR", "SNR", "USDR", "ThresholdedSNR"]


class SNR(Accumulator):
    """Signal-to-noise ratio, see :func:`~sonograd.functional.snr`."""

    name: ClassVar[str] = "snr"
    value_names: ClassVar[tuple[str, ...]] = ("snr",)
    streams: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``snr``."""
        return {"snr": snr(estimate.flatten(-2).double(), reference.flatten(-2).double())}

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return what :meth:`measure` does, of a track in blocks."""
        sums = Sums.of(blocks)
        return {"snr": ratio_db(sums.reference, sums.error)}


class SISDR(Accumulator):
    """Scale-invariant SDR, one scale for all channels, see :func:`~sonograd.functional.si_sdr`."""

    name: ClassVar[str] = "si_sdr"
    value_names: ClassVar[tuple[str, ...]] = ("si_sdr",)
    streams: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``si_sdr``."""
        return {"si_sdr": si_sdr(estimate.flatten(-2).double(), reference.flatten(-2).double())}

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return what :meth:`measure` does, of a track in blocks."""
        return {"si_sdr": _si_sdr_of_blocks(blocks, center=False)}


class SISNR(Accumulator):
    """SI-SDR without the mean of each channel, see :func:`~sonograd.functional.si_snr`."""

    name: ClassVar[str] = "si_snr"
    value_names: ClassVar[tuple[str, ...]] = ("si_snr",)
    streams: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``si_snr``."""
        estimate, reference = (
            x.double() - x.double().mean(-1, True) for x in (estimate, reference)
        )
        return {"si_snr": si_snr(estimate.flatten(-2), reference.flatten(-2))}

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return what :meth:`measure` does, of a track in blocks."""
        return {"si_snr": _si_sdr_of_blocks(blocks, center=True)}


class SDSDR(Accumulator):
    """Scale-dependent SDR, see :func:`~sonograd.functional.sd_sdr`."""

    name: ClassVar[str] = "sd_sdr"
    value_names: ClassVar[tuple[str, ...]] = ("sd_sdr",)
    streams: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``sd_sdr``."""
        return {"sd_sdr": sd_sdr(estimate.flatten(-2).double(), reference.flatten(-2).double())}

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return what :meth:`measure` does, of a track in blocks."""
        sums = Sums.of(blocks)
        return {"sd_sdr": ratio_db(sums.scale.square() * sums.reference, sums.error)}


class SASDR(Accumulator):
    """Source-aggregated SDR, see :func:`~sonograd.functional.sa_sdr`.

    One number for all targets of a track, which each of them is given.
    """

    name: ClassVar[str] = "sa_sdr"
    value_names: ClassVar[tuple[str, ...]] = ("sa_sdr",)
    joint: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``sa_sdr``."""
        value = sa_sdr(estimate.flatten(-2).double(), reference.flatten(-2).double())
        return {"sa_sdr": value.expand(estimate.shape[0])}

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return what :meth:`measure` does, of a track in blocks."""
        sums = Sums.of(blocks)
        value = ratio_db(sums.reference.sum(), sums.error.sum())
        return {"sa_sdr": value.expand(len(sums.reference))}


class ThresholdedSNR(Accumulator):
    """SNR of at most 30 dB, see :func:`~sonograd.functional.thresholded_snr`.

    A silent target is measured against the sum of all references, the mix; NaN where the mix is
    not known, because the track has one target only.
    """

    name: ClassVar[str] = "thresholded_snr"
    value_names: ClassVar[tuple[str, ...]] = ("thresholded_snr",)
    joint: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``thresholded_snr``."""
        estimate, reference = estimate.flatten(-2).double(), reference.flatten(-2).double()
        mix = reference.sum(0).expand_as(reference) if len(reference) > 1 else None
        return self._known(thresholded_snr(estimate, reference, mix=mix))

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return what :meth:`measure` does, of a track in blocks."""
        sums = Sums.of(blocks)
        mix = sums.mix if len(sums.reference) > 1 else sums.mix * 0
        level = torch.where(sums.reference == 0, mix, sums.reference)
        return self._known(ratio_db(level, sums.error + 1e-3 * level))

    def _known(self, value: Tensor) -> Mapping[str, Tensor]:
        """Without anything to compare with there is no value, however much leaks."""
        return {"thresholded_snr": value.masked_fill(value.isinf(), torch.nan)}

    def explain(self, names: Sequence[str]) -> str:
        """Say why there is no value."""
        if not names:
            return ""
        return (
            f"{', '.join(names)} not defined: the reference is silent, and there is no mix: all "
            "targets of the track are needed, of which one sounds"
        )


class USDR(Accumulator):
    """The "SDR" of the MDX and SDX challenges, see :func:`~sonograd.functional.usdr`."""

    name: ClassVar[str] = "usdr"
    value_names: ClassVar[tuple[str, ...]] = ("usdr",)
    streams: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``usdr``."""
        return {"usdr": usdr(estimate.double(), reference.double())}

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return what :meth:`measure` does, of a track in blocks."""
        sums = Sums.of(blocks)
        return {"usdr": ratio_db(sums.reference + 1e-7, sums.error + 1e-7)}


class MSSTSDR(Accumulator):
    """The "SDR" of MSST and MVSep, see :func:`~sonograd.functional.msst_sdr`."""

    name: ClassVar[str] = "msst_sdr"
    value_names: ClassVar[tuple[str, ...]] = ("msst_sdr",)
    streams: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``msst_sdr``."""
        return {"msst_sdr": msst_sdr(estimate.double(), reference.double())}

    def measure_blocks(self, blocks: Blocks) -> Mapping[str, Tensor]:
        """Return what :meth:`measure` does, of a track in blocks."""
        sums = Sums.of(blocks)
        return {"msst_sdr": ratio_db(sums.reference + 1e-8, sums.error + 1e-8)}


class SIBSS(Accumulator):
    """SI-SIR and both published SI-SARs, see :func:`~sonograd.functional.si_bss_eval`.

    All targets of the mix must be there, or interference from the others counts as artifacts.
    """

    name: ClassVar[str] = "si_bss"
    value_names: ClassVar[tuple[str, ...]] = ("si_sir", "si_sar_target", "si_sar_projection")
    improvable: ClassVar[frozenset[str] | None] = frozenset({"si_sir"})
    joint: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``si_sir``, ``si_sar_target`` and ``si_sar_projection``."""
        ours, theirs = estimate.flatten(-2).double(), reference.flatten(-2).double()
        values = si_bss_eval(ours, theirs)
        other = si_bss_eval(ours, theirs, si_sar="projection")
        return {
            "si_sir": values.si_sir,
            "si_sar_target": values.si_sar,
            "si_sar_projection": other.si_sar,
        }


def _si_sdr_of_blocks(blocks: Blocks, *, center: bool) -> Tensor:
    """Find the scale in one pass, and what it leaves in another: exact at any ratio."""
    sums = Sums.of(blocks, center=center)
    error = error_energy(blocks, sums.scale, sums.means)
    return ratio_db(sums.scale.square() * sums.reference, error)
