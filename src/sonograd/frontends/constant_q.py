"""Constant-Q and variable-Q transforms as layers."""

from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from sonograd.errors import ParameterError
from sonograd.frontends.base import FrontEnd, Output, check_flags, check_numbers
from sonograd.frontends.tables import Tables
from sonograd.functional._settings import check_option
from sonograd.functional.constant_q import (
    C1_HZ,
    AtomLengths,
    AtomNormalization,
    ConstantQBins,
    check_options,
    constant_q_atoms,
    constant_q_bins,
    constant_q_kernels,
    design_fold,
)
from sonograd.functional.constant_q_direct import (
    ConvolutionPlan,
    convolve_kernels,
    half_band,
    plan_convolution,
)
from sonograd.functional.constant_q_fold import FoldPlan, fold, fold_weights, plan_fold
from sonograd.functional.constant_q_windows import AtomWindow, window_spectrum
from sonograd.functional.framing import PadMode, check_pad_mode

__all__ = ["ConstantQ", "ConstantQMethod", "VariableQ"]

ConstantQMethod: TypeAlias = Literal["fold", "direct", "octaves"]


class VariableQ(FrontEnd, Tables):
    r"""Transform whose bins are equally spaced in pitch, with a bandwidth of their own.

    Bins, atoms and normalizations are those of :func:`~sonograd.functional.constant_q`; bin
    :math:`k` has the bandwidth :math:`\alpha f_k + \gamma`. There are three ways to compute it:

    - ``method="fold"``: by FFT, the fastest, with the relative error ``tolerance``.
    - ``method="direct"``: by convolution with explicit kernels: exact, and the one that ONNX knows,
      for the outputs ``"magnitude"`` and ``"power"``.
    - ``method="octaves"``: by convolution too, at a sample rate that is halved as often as the
      bins allow it and the hop is even.

    What can be trained: with ``trainable_frequencies`` and ``trainable_bandwidths`` one number per
    bin each, with every method; with ``trainable`` all values of every kernel, or, as ``"fold"``
    has no kernels, both numbers.

    Attributes:
        frequency_octaves: Parameter, ``(bins,)``: how far frequencies have moved, in octaves. They
            move by at most ``reach_octaves``, which the parameter nears as a hyperbolic tangent,
            and not above half the sample rate.
        bandwidth_octaves: Parameter, ``(bins,)``: the same for the bandwidths.
        kernels: Parameters of free kernels, highest bins first: real and imaginary parts,
            ``(2, bins, taps)`` for each group of bins of about the same length.
    """

    first_frequencies: Tensor
    first_lengths: Tensor
    hop_length: int
    frequency_octaves: nn.Parameter | None
    bandwidth_octaves: nn.Parameter | None
    plan: FoldPlan | ConvolutionPlan
    methods: ClassVar[tuple[ConstantQMethod, ...]] = ("fold", "direct", "octaves")

    def __init__(
        self,
        *,
        sample_rate: float = 22050,
        hop_length: int = 512,
        fmin: float = C1_HZ,
        fmax: float | None = None,
        n_bins: int | None = None,
        bins_per_octave: int = 12,
        filter_scale: float = 1.0,
        gamma: float | None = None,
        window: AtomWindow = "hann",
        normalization: AtomNormalization = "librosa",
        lengths: AtomLengths = "continuous",
        method: ConstantQMethod = "fold",
        pad_mode: PadMode = "constant",
        trainable: bool = False,
        trainable_frequencies: bool = False,
        trainable_bandwidths: bool = False,
        reach_octaves: float = 0.5,
        tolerance: float = 7.5e-5,
        output: Output = "complex",
    ) -> None:
        """Lay out the bins and design what the method needs.

        Args:
            sample_rate: Samples per second.
            hop_length: Samples between frames, any number.
            fmin: Frequency of the lowest bin in Hz.
            fmax: The highest frequency in Hz, in place of ``n_bins``.
            n_bins: How many bins; by default as many as reach ``fmax``, or 84 without one.
            bins_per_octave: Bins per doubling of the frequency.
            filter_scale: Makes all atoms longer (above 1) or shorter.
            gamma: Bandwidth in Hz that is added to every bin; None for that of the ear.
            window: Shape of the atoms, see :func:`~sonograd.functional.window_shape`.
            normalization: ``"librosa"``, ``"convolutional"`` or ``"wrap"``.
            lengths: ``"continuous"``: the definition; ``"librosa"``: what librosa makes of it,
                with ``method="fold"`` and nothing trained.
            method: See above.
            pad_mode: What lies outside the signal.
            trainable: Train the kernels.
            trainable_frequencies: Train the frequency of every bin.
            trainable_bandwidths: Train the bandwidth of every bin.
            reach_octaves: How far frequencies and bandwidths can move.
            tolerance: Root of the part of an atom's energy that ``"fold"`` and ``"octaves"`` may
                leave out: about the relative error of the result.
            output: The form of the result.

        Raises:
            ParameterError: If a number is out of range, a name is not known, a bin lies above half
                the sample rate, or two options contradict each other.
        """
        super().__init__(sample_rate=sample_rate, output=output)
        check_option(method, "method", self.methods)
        check_pad_mode(pad_mode)
        check_options(hop_length, lengths, tolerance)
        check_numbers(reach_octaves=reach_octaves)
        check_flags(
            trainable=trainable,
            trainable_frequencies=trainable_frequencies,
            trainable_bandwidths=trainable_bandwidths,
        )
        if not 0 < reach_octaves <= 2:
            raise ParameterError(f"reach_octaves is {reach_octaves}; expected a value in (0, 2]")
        self.hop_length = hop_length
        self.method: ConstantQMethod = method
        self.pad_mode: PadMode = pad_mode
        self.window = window
        self.normalization: AtomNormalization = normalization
        self.reach_octaves = reach_octaves
        if trainable and method == "fold":
            trainable, trainable_frequencies, trainable_bandwidths = False, True, True
        moves = trainable_frequencies or trainable_bandwidths
        _check_combination(method, lengths, trainable, moves)
        self._bins = constant_q_bins(
            sample_rate=sample_rate,
            fmin=fmin,
            fmax=fmax,
            n_bins=n_bins,
            bins_per_octave=bins_per_octave,
            filter_scale=filter_scale,
            gamma=gamma,
        )
        self.add_table("first_frequencies", self._bins.frequencies)
        self.add_table("first_lengths", self._bins.lengths)
        start = torch.zeros_like(self._bins.lengths)
        self.frequency_octaves = self.bandwidth_octaves = None
        if trainable_frequencies:
            self.add_parameter("frequency_octaves", start)
        if trainable_bandwidths:
            self.add_parameter("bandwidth_octaves", start)
        if method == "fold":
            self._prepare_fold(lengths, tolerance, moves)
        else:
            self._prepare_kernels(tolerance, trainable, moves)

    def _prepare_fold(self, lengths: AtomLengths, tolerance: float, moves: bool) -> None:
        if not moves:
            self.plan, weights = design_fold(
                self._bins,
                sample_rate=self.sample_rate,
                hop_length=self.hop_length,
                window=self.window,
                normalization=self.normalization,
                lengths=lengths,
                tolerance=tolerance,
            )
            for index, matrices in enumerate(weights):
                self.add_table(f"weights_{index}", matrices)
            return
        longest = float(self._bins.lengths.max()) * 2**self.reach_octaves
        spectrum = window_spectrum(self.window, tolerance=tolerance, longest=longest)
        if not spectrum.continuous:
            raise ParameterError(
                f"window is {self.window!r}, which does not vanish at its ends, so that no length "
                "can be learned with method 'fold'; use method='direct', or another window"
            )
        self.add_table("pieces", spectrum.pieces)
        self.plan = plan_fold(
            constant_q_atoms(
                self._bins, sample_rate=self.sample_rate, normalization=self.normalization
            ),
            hop_length=self.hop_length,
            reach=spectrum.reach,
            frequency_octaves=0.0 if self.frequency_octaves is None else self.reach_octaves,
            length_octaves=0.0 if self.bandwidth_octaves is None else self.reach_octaves,
        )

    def _prepare_kernels(self, tolerance: float, trainable: bool, moves: bool) -> None:
        reach = None
        if self.method == "octaves":
            longest = float(self._bins.lengths.max())
            reach = window_spectrum(self.window, tolerance=tolerance, longest=longest).reach
        self.plan = plan_convolution(
            self._bins,
            sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            reach=reach,
            frequency_octaves=0.0 if self.frequency_octaves is None else self.reach_octaves,
            length_octaves=0.0 if self.bandwidth_octaves is None else self.reach_octaves,
        )
        self.add_table("low_pass", half_band())
        if moves:
            return
        designed = self._design_kernels(self._bins, self.plan)
        if trainable:
            dtype = torch.get_default_dtype()
            self.kernels = nn.ParameterList(
                nn.Parameter(kernel.to(dtype, copy=True)) for kernel in designed
            )
            return
        for index, kernel in enumerate(designed):
            self.add_table(f"kernels_{index}", kernel)

    @property
    def frequencies(self) -> Tensor:
        """Center frequencies in Hz, ``(bins,)``, where training has moved them."""
        return self._moved(self.first_frequencies).frequencies

    @property
    def lengths(self) -> Tensor:
        """Lengths of the atoms in samples, ``(bins,)``, where training has moved them."""
        return self._moved(self.first_lengths).lengths

    @property
    def bandwidths(self) -> Tensor:
        """Bandwidths in Hz, ``(bins,)``, for a filter scale of one: as defined, or as trained."""
        return self.sample_rate * self._bins.filter_scale / self.lengths

    def transform(self, x: Tensor) -> Tensor:
        """Transform checked signals to complex ``(..., bins, frames)``."""
        if isinstance(self.plan, FoldPlan):
            return fold(x, self._weights(x, self.plan), self.plan, pad_mode=self.pad_mode)
        return torch.complex(*self._convolve(x, self.plan))

    def _transform(self, x: Tensor) -> Tensor:
        if isinstance(self.plan, FoldPlan) or self.output not in {"magnitude", "power"}:
            return super()._transform(x)
        # Without complex numbers, which ONNX does not have.
        real, imaginary = self._convolve(x, self.plan)
        power = real.square() + imaginary.square()
        if self.output == "power":
            return power
        heard = power > 0
        return power.where(heard, 1.0).sqrt() * heard

    def _moved(self, like: Tensor) -> ConstantQBins:
        """Return the bins where they are now, in the precision of ``like``."""
        frequencies = self.table("first_frequencies", like)
        lengths = self.table("first_lengths", like)
        reach = self.reach_octaves
        if self.frequency_octaves is not None:
            octaves = reach * torch.tanh(self.frequency_octaves.to(like) / reach)
            frequencies = (frequencies * torch.exp2(octaves)).clamp(max=self.sample_rate / 2)
        if self.bandwidth_octaves is not None:
            octaves = reach * torch.tanh(self.bandwidth_octaves.to(like) / reach)
            lengths = lengths * torch.exp2(-octaves)
        return self._bins._replace(frequencies=frequencies, lengths=lengths)

    @property
    def _moves(self) -> bool:
        return self.frequency_octaves is not None or self.bandwidth_octaves is not None

    def _weights(self, x: Tensor, plan: FoldPlan) -> list[Tensor]:
        if not self._moves:
            return [self.table(f"weights_{index}", x) for index in range(len(plan.groups))]
        atoms = constant_q_atoms(
            self._moved(x), sample_rate=self.sample_rate, normalization=self.normalization
        )
        return fold_weights(plan, atoms, self.table("pieces", x))

    def _convolve(self, x: Tensor, plan: ConvolutionPlan) -> tuple[Tensor, Tensor]:
        if self._moves:
            kernels = self._design_kernels(self._moved(x), plan)
        elif hasattr(self, "kernels"):
            kernels = [kernel.to(x) for kernel in self.kernels]
        else:
            kernels = [self.table(f"kernels_{index}", x) for index in range(len(plan.groups))]
        low_pass = self.table("low_pass", x)
        return convolve_kernels(x, kernels, low_pass, plan, pad_mode=self.pad_mode)

    def _design_kernels(self, bins: ConstantQBins, plan: ConvolutionPlan) -> list[Tensor]:
        """Return the real and imaginary parts of what signals are correlated with."""
        kernels = []
        for group in plan.groups:
            rate = 2**group.halvings
            chosen = bins._replace(
                frequencies=bins.frequencies[group.first : group.stop],
                lengths=bins.lengths[group.first : group.stop] / rate,
            )
            kernel = constant_q_kernels(
                chosen,
                sample_rate=self.sample_rate / rate,
                window=self.window,
                normalization=self.normalization,
                half_length=group.half_length,
            )
            # Atoms of a lower rate have fewer points, yet the length that counts is in samples.
            scale = rate**0.5 if self.normalization == "librosa" else 1.0
            kernels.append(scale * torch.stack([kernel.real, -kernel.imag]))
        return kernels

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        bins = self._bins
        return (
            f"{super().extra_repr()}, hop_length={self.hop_length}, "
            f"n_bins={len(bins.lengths)}, fmin={float(bins.frequencies[0]):.6g}, "
            f"bins_per_octave={bins.bins_per_octave}, gamma={bins.gamma:.6g}, "
            f"method={self.method!r}"
        )


class ConstantQ(VariableQ):
    """Transform whose bins are equally spaced in pitch, with bandwidths in proportion to it.

    A :class:`VariableQ`, which says everything about it, with a ``gamma`` of 0.

    >>> layer = ConstantQ(sample_rate=22050, output="magnitude")
    >>> layer(torch.zeros(2, 22050)).shape
    torch.Size([2, 84, 44])
    """

    def __init__(
        self,
        *,
        sample_rate: float = 22050,
        hop_length: int = 512,
        fmin: float = C1_HZ,
        fmax: float | None = None,
        n_bins: int | None = None,
        bins_per_octave: int = 12,
        filter_scale: float = 1.0,
        window: AtomWindow = "hann",
        normalization: AtomNormalization = "librosa",
        lengths: AtomLengths = "continuous",
        method: ConstantQMethod = "fold",
        pad_mode: PadMode = "constant",
        trainable: bool = False,
        trainable_frequencies: bool = False,
        trainable_bandwidths: bool = False,
        reach_octaves: float = 0.5,
        tolerance: float = 7.5e-5,
        output: Output = "complex",
    ) -> None:
        """Lay out the bins; arguments are those of :class:`VariableQ`."""
        super().__init__(
            sample_rate=sample_rate,
            hop_length=hop_length,
            fmin=fmin,
            fmax=fmax,
            n_bins=n_bins,
            bins_per_octave=bins_per_octave,
            filter_scale=filter_scale,
            gamma=0.0,
            window=window,
            normalization=normalization,
            lengths=lengths,
            method=method,
            pad_mode=pad_mode,
            trainable=trainable,
            trainable_frequencies=trainable_frequencies,
            trainable_bandwidths=trainable_bandwidths,
            reach_octaves=reach_octaves,
            tolerance=tolerance,
            output=output,
        )


def _check_combination(
    method: ConstantQMethod, lengths: AtomLengths, trainable: bool, moves: bool
) -> None:
    if lengths == "librosa" and (method != "fold" or moves):
        raise ParameterError(
            f"lengths is 'librosa' with method {method!r}"
            f"{' and trained bins' if moves else ''}; expected method='fold' and nothing trained"
        )
    if trainable and moves:
        raise ParameterError(
            "trainable is True, and so is trainable_frequencies or trainable_bandwidths; free "
            "kernels have neither: choose one"
        )
