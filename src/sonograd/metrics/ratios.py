"""Accumulators of energy ratios; all channels of a target count as one signal."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

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
from sonograd.metrics.base import Accumulator

__all__ = ["MSSTSDR", "SASDR", "SDSDR", "SIBSS", "SISDR", "SISNR", "SNR", "USDR", "ThresholdedSNR"]


class SNR(Accumulator):
    """Signal-to-noise ratio, see :func:`~sonograd.functional.snr`."""

    name: ClassVar[str] = "snr"
    value_names: ClassVar[tuple[str, ...]] = ("snr",)

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``snr``."""
        return {"snr": snr(estimate.flatten(-2).double(), reference.flatten(-2).double())}


class SISDR(Accumulator):
    """Scale-invariant SDR, one scale for all channels, see :func:`~sonograd.functional.si_sdr`."""

    name: ClassVar[str] = "si_sdr"
    value_names: ClassVar[tuple[str, ...]] = ("si_sdr",)

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``si_sdr``."""
        return {"si_sdr": si_sdr(estimate.flatten(-2).double(), reference.flatten(-2).double())}


class SISNR(Accumulator):
    """SI-SDR without the mean of each channel, see :func:`~sonograd.functional.si_snr`."""

    name: ClassVar[str] = "si_snr"
    value_names: ClassVar[tuple[str, ...]] = ("si_snr",)

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``si_snr``."""
        estimate, reference = (
            x.double() - x.double().mean(-1, True) for x in (estimate, reference)
        )
        return {"si_snr": si_snr(estimate.flatten(-2), reference.flatten(-2))}


class SDSDR(Accumulator):
    """Scale-dependent SDR, see :func:`~sonograd.functional.sd_sdr`."""

    name: ClassVar[str] = "sd_sdr"
    value_names: ClassVar[tuple[str, ...]] = ("sd_sdr",)

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``sd_sdr``."""
        return {"sd_sdr": sd_sdr(estimate.flatten(-2).double(), reference.flatten(-2).double())}


class SASDR(Accumulator):
    """Source-aggregated SDR, see :func:`~sonograd.functional.sa_sdr`.

    One number for all targets of a track, which each of them is given.
    """

    name: ClassVar[str] = "sa_sdr"
    value_names: ClassVar[tuple[str, ...]] = ("sa_sdr",)
    joint: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``sa_sdr``."""
        value = sa_sdr(estimate.flatten(-2).double(), reference.flatten(-2).double())
        return {"sa_sdr": value.expand(estimate.shape[0])}


class ThresholdedSNR(Accumulator):
    """SNR of at most 30 dB, see :func:`~sonograd.functional.thresholded_snr`.

    A silent target is measured against the sum of all references, the mix.
    """

    name: ClassVar[str] = "thresholded_snr"
    value_names: ClassVar[tuple[str, ...]] = ("thresholded_snr",)
    joint: ClassVar[bool] = True

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``thresholded_snr``."""
        estimate, reference = estimate.flatten(-2).double(), reference.flatten(-2).double()
        mix = reference.sum(0).expand_as(reference)
        return {"thresholded_snr": thresholded_snr(estimate, reference, mix=mix)}


class USDR(Accumulator):
    """The "SDR" of the MDX and SDX challenges, see :func:`~sonograd.functional.usdr`."""

    name: ClassVar[str] = "usdr"
    value_names: ClassVar[tuple[str, ...]] = ("usdr",)

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``usdr``."""
        return {"usdr": usdr(estimate.double(), reference.double())}


class MSSTSDR(Accumulator):
    """The "SDR" of MSST and MVSep, see :func:`~sonograd.functional.msst_sdr`."""

    name: ClassVar[str] = "msst_sdr"
    value_names: ClassVar[tuple[str, ...]] = ("msst_sdr",)

    def measure(self, estimate: Tensor, reference: Tensor) -> Mapping[str, Tensor]:
        """Return ``msst_sdr``."""
        return {"msst_sdr": msst_sdr(estimate.double(), reference.double())}


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
