"""Open-Unmix: a recurrent network per target on magnitudes, then multichannel Wiener filtering.

Stöter, Uhlich, Liutkus and Mitsufuji, *Open-Unmix: a reference implementation for music source
separation*, JOSS 4(41), 2019, doi:10.21105/joss.01667.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sonograd.config.io import validate
from sonograd.config.open_unmix import OpenUnmixConfig
from sonograd.functional.spectral import istft, overlap_add, stft
from sonograd.functional.wiener import wiener
from sonograd.separators.base import Separator
from sonograd.separators.chunking import ChunkPlan
from sonograd.separators.published import published_arguments, rename
from sonograd.separators.survey import Blocks, Run, Survey
from sonograd.shapes import check_batch

__all__ = ["OpenUnmix", "OpenUnmixSurvey"]


class TargetNet(nn.Module):
    """The network of one target: encode each frame, recur over frames, decode each frame."""

    def __init__(self, config: OpenUnmixConfig) -> None:
        """Build the layers with random weights."""
        super().__init__()
        bins = config.num_fft // 2 + 1
        hidden, channels = config.hidden_size, config.num_channels
        self.channels, self.bins, self.seen = channels, bins, config.max_bin or bins
        self.input_mean = nn.Parameter(torch.zeros(self.seen))
        self.input_scale = nn.Parameter(torch.ones(self.seen))
        self.encode = nn.Linear(self.seen * channels, hidden, bias=False)
        self.encode_norm = nn.BatchNorm1d(hidden)
        self.lstm = nn.LSTM(
            hidden,
            hidden if config.unidirectional else hidden // 2,
            config.recurrent_depth,
            batch_first=True,
            bidirectional=not config.unidirectional,
            dropout=config.dropout_p if config.recurrent_depth > 1 else 0.0,
        )
        self.reduce = nn.Linear(2 * hidden, hidden, bias=False)
        self.reduce_norm = nn.BatchNorm1d(hidden)
        self.decode = nn.Linear(hidden, bins * channels, bias=False)
        self.decode_norm = nn.BatchNorm1d(bins * channels)
        self.output_scale = nn.Parameter(torch.ones(bins))
        self.output_mean = nn.Parameter(torch.ones(bins))

    def before(self, magnitude: Tensor) -> Tensor:
        """Encode ``(batch, channels, bins, frames)`` to ``(batch, frames, hidden_size)``."""
        x = (magnitude.permute(0, 3, 1, 2)[..., : self.seen] + self.input_mean) * self.input_scale
        batch, frames = x.shape[:2]
        x = self.encode_norm(self.encode(x.flatten(2).flatten(0, 1)))
        features: Tensor = torch.tanh(x).unflatten(0, (batch, frames))
        return features

    def after(self, x: Tensor, recurred: Tensor, magnitude: Tensor) -> Tensor:
        """Decode what was encoded and recurred to the magnitudes of the target."""
        batch, frames = x.shape[:2]
        y = torch.cat((x, recurred), dim=-1).flatten(0, 1)
        y = F.relu(self.reduce_norm(self.reduce(y)))
        y = self.decode_norm(self.decode(y)).reshape(batch, frames, self.channels, self.bins)
        y = F.relu(y * self.output_scale + self.output_mean)
        return y.permute(0, 2, 3, 1) * magnitude

    def forward(self, magnitude: Tensor) -> Tensor:
        """Map the magnitudes of the mix, ``(batch, channels, bins, frames)``, to the target's."""
        x = self.before(magnitude)
        return self.after(x, self.lstm(x)[0], magnitude)


class OpenUnmix(Separator):
    """The networks of all targets and the filter behind them, see the module.

    :meth:`forward` sees what it is given as a whole. :meth:`separate` gives the same for a whole
    song by way of :class:`OpenUnmixSurvey`, in memory that does not depend on its length: the
    state of every recurrence is carried from chunk to chunk. Streams without a survey, such as
    live ones, recur within each chunk only.
    """

    config: OpenUnmixConfig
    window: Tensor

    def __init__(self, config: OpenUnmixConfig | None = None) -> None:
        """Build the networks; without ``config`` with its defaults.

        Raises:
            ConfigError: If ``config`` is not valid; with all problems at once.
        """
        super().__init__()
        config = validate(config or OpenUnmixConfig(), source="OpenUnmix")
        self.config = config
        residual = () if config.residual_target is None else (config.residual_target,)
        self.stems = (*config.targets, *residual)
        self.sample_rate = config.sample_rate
        self.channels = config.num_channels
        self.hop_length = config.hop_length
        self.register_buffer("window", torch.hann_window(config.num_fft), persistent=False)
        self.nets = nn.ModuleList(TargetNet(config) for _ in config.targets)
        frames = max(round(config.sample_length * config.sample_rate / config.hop_length), 1)
        kept = frames * config.hop_length
        context = -(-max(kept // 4, config.num_fft // 2) // config.hop_length) * config.hop_length
        hop = max(3 * frames // 4, 1) * config.hop_length
        self.plan = ChunkPlan(kept, hop, context=context, grid=config.hop_length)

    def transform(self, audio: Tensor) -> Tensor:
        """Return the spectrum ``(..., bins, frames)`` of ``(..., samples)``."""
        config = self.config
        return stft(audio, n_fft=config.num_fft, hop_length=config.hop_length, window=self.window)

    def core_inputs(self, mix: Tensor) -> tuple[Tensor]:
        """Return what :meth:`core` takes of ``(batch, channels, samples)``."""
        return (self.transform(mix).abs(),)

    def core(self, magnitude: Tensor) -> Tensor:
        """Map magnitudes of the mix to those of the targets, without transforms.

        Args:
            magnitude: ``(batch, channels, bins, frames)``.

        Returns:
            ``(batch, targets, channels, bins, frames)``.
        """
        return torch.stack([net(magnitude) for net in self.nets], dim=1)

    def forward(self, mix: Tensor) -> Tensor:
        """Map ``(batch, channels, samples)`` to ``(batch, stems, channels, samples)``."""
        check_batch(mix, channels=self.channels)
        batch, channels, samples = mix.shape
        if not mix.numel():
            return mix.new_zeros(batch, len(self.stems), channels, samples)
        with torch.autocast(mix.device.type, enabled=False):
            spectrum = self.transform(mix)
            magnitude = spectrum.abs()
        estimates = self.core(magnitude)
        with torch.autocast(mix.device.type, enabled=False):
            spectra = self.filter(estimates.to(mix.dtype), spectrum)
            return istft(
                spectra,
                n_fft=self.config.num_fft,
                hop_length=self.config.hop_length,
                window=self.window,
                length=samples,
            )

    def filter(self, magnitudes: Tensor, spectrum: Tensor) -> Tensor:
        """Turn magnitudes of the targets into spectra of the stems, some frames at a time."""
        config = self.config
        alone = len(self.stems) == 1
        pieces = [
            wiener(
                part,
                mix,
                iterations=0 if alone or self.training else config.wiener_iterations,
                softmask=config.softmask,
                residual=config.residual_target is not None,
            )
            for part, mix in zip(
                magnitudes.split(config.wiener_frames, -1),
                spectrum.split(config.wiener_frames, -1),
                strict=True,
            )
        ]
        return torch.cat(pieces, dim=-1)

    def survey(
        self, plan: ChunkPlan | None = None, *, blocks: Blocks | None = None
    ) -> "OpenUnmixSurvey":
        """Start to hear a whole mix; of ``plan``, only the offset counts.

        The rest is fixed by the frames of the filter.
        """
        shift = 0 if plan is None else plan.offset - self.plan.offset
        return OpenUnmixSurvey(self, {} if blocks is None else blocks, shift=shift)


class OpenUnmixSurvey(Survey):
    """Runs the recurrences over a whole mix, layer by layer and window by window.

    A window is the frames that share one spatial model. Kept of each are the encoded features and
    the output of the last layer, in ``blocks``; the spectra are made again in the second pass.
    """

    def __init__(self, separator: OpenUnmix, blocks: Blocks, *, shift: int = 0) -> None:
        """Start ``shift`` samples of silence before the first one of the mix.

        Args:
            separator: The model.
            blocks: Keeps what is needed later.
            shift: How many; whole windows are left out.
        """
        config = separator.config
        self._net, self._blocks = separator, blocks
        self._frames, self._hop, self._size = (
            config.wiener_frames,
            config.hop_length,
            config.num_fft,
        )
        half = self._size // 2
        hop = self._frames * self._hop
        # A window of frames reaches half a frame beyond the middle of its first and last one.
        length = hop - self._hop + self._size
        self._shift = shift % hop
        self.first = self.second = ChunkPlan(
            length, hop, context=half, offset=half + self._shift, summed=True
        )
        self._windows = 0
        self._samples = 0

    def _spectrum(self, chunk: Tensor, index: int, samples: int | None) -> Tensor | None:
        """Return the frames of a window, ``(channels, bins, frames)``, or None if it has none.

        Places are those in the mix with the silence before it, and so are ``samples``.
        """
        begin, half = index * self.first.hop, self._size // 2
        frames = self._frames
        if samples is not None:
            frames = min(frames, 1 + samples // self._hop - index * self._frames)
        if frames <= 0:
            return None
        place = torch.arange((frames - 1) * self._hop + self._size) + begin - half
        if samples is not None or index == 0:
            last = begin + chunk.shape[-1] if samples is None else samples - 1
            period = max(2 * last, 1)  # mirrored at both ends, again and again if it is short
            place = place.remainder(period)
            place = torch.where(place > last, period - place, place)
        audio = chunk[..., (place - begin + half + self.first.context).to(chunk.device)]
        return stft(
            audio,
            n_fft=self._size,
            hop_length=self._hop,
            window=self._net.window,
            center=False,
        )

    @torch.no_grad()
    def look(self, chunk: Tensor, index: int, samples: int | None) -> list[Tensor]:
        """Return the encoded features of every target, ``(frames, hidden_size)``."""
        with torch.autocast(chunk.device.type, enabled=False):
            spectrum = self._spectrum(
                chunk, index, None if samples is None else samples + self._shift
            )
        if spectrum is None:
            return []
        magnitude = spectrum.abs()[None]
        return [net.before(magnitude)[0].to(chunk.dtype) for net in self._nets()]

    def _nets(self) -> Iterator[TargetNet]:
        for net in self._net.nets:
            assert isinstance(net, TargetNet)
            yield net

    def take(self, seen: list[Tensor]) -> None:
        """Keep the features of a window."""
        for target, features in enumerate(seen):
            self._blocks[target, "encoded", self._windows] = features
        self._windows += bool(seen)

    @torch.no_grad()
    def finish(self, samples: int, run: Run = map) -> None:
        """Run all recurrences, each target and direction on its own."""
        self._samples = samples + self._shift
        config = self._net.config
        directions = (0,) if config.unidirectional else (0, 1)
        for layer in range(config.recurrent_depth):
            todo = [
                (target, net.lstm, layer, direction)
                for target, net in enumerate(self._nets())
                for direction in directions
            ]
            for _ in run(lambda item: self._recur(*item), todo):
                pass

    def _stored(self, *key: int | str) -> Tensor:
        return self._blocks[key].to(self._net.window.device)

    def _recur(self, target: int, lstm: nn.LSTM, layer: int, direction: int) -> None:
        """Run one layer in one direction over the whole mix, with a state that is carried."""
        cell, state = _single(lstm, layer, direction), None
        order = range(self._windows)
        for window in reversed(order) if direction else order:
            x = self._inputs(target, layer, window)[None]
            with torch.no_grad():
                y, state = cell(x.flip(1) if direction else x, state)
            y = y.flip(1) if direction else y
            self._blocks[target, layer % 2, direction, window] = y[0].to(x.dtype).contiguous()

    def _inputs(self, target: int, layer: int, window: int) -> Tensor:
        """Return what a layer sees of a window, ``(frames, features)``."""
        if layer == 0:
            return self._stored(target, "encoded", window)
        directions = 1 if self._net.config.unidirectional else 2
        parts = [self._stored(target, (layer - 1) % 2, way, window) for way in range(directions)]
        return torch.cat(parts, dim=-1)

    @torch.no_grad()
    def separate(self, chunks: Tensor, indices: Sequence[int]) -> Tensor:
        """Return what each window adds to the stems."""
        return torch.stack(
            [self._window(chunk, index) for chunk, index in zip(chunks, indices, strict=True)]
        )

    def _window(self, chunk: Tensor, index: int) -> Tensor:
        net, half = self._net, self._size // 2
        stems = chunk.new_zeros(len(net.stems), chunk.shape[0], self.second.input_length)
        with torch.autocast(chunk.device.type, enabled=False):
            spectrum = self._spectrum(chunk, index, self._samples)
            if spectrum is None:
                return stems
            magnitude = spectrum.abs()[None]
        depth = net.config.recurrent_depth
        estimates = [
            target_net.after(
                self._stored(target, "encoded", index)[None],
                self._inputs(target, depth, index)[None],
                magnitude,
            )
            for target, target_net in enumerate(self._nets())
        ]
        with torch.autocast(chunk.device.type, enabled=False):
            magnitudes = torch.stack(estimates, dim=1).to(chunk.dtype)
            spectra = net.filter(magnitudes, spectrum[None])[0]
            window = net.window.to(chunk.dtype)
            parts = torch.fft.irfft(spectra.mT, n=self._size) * window
            signal = overlap_add(parts, hop_length=self._hop)
            signal = signal / self._envelope(index, signal)
        stems[..., half : half + signal.shape[-1]] = signal
        return stems

    def _envelope(self, index: int, like: Tensor) -> Tensor:
        """Return the sum of the squared windows of all frames of the mix where a window lies."""
        reach = -(-self._size // self._hop)
        first = index * self._frames
        begin = max(first - reach, 0)
        frames = (like.shape[-1] - self._size) // self._hop + 1
        end = min(first + frames + reach, 1 + self._samples // self._hop)
        squares = self._net.window.to(like.dtype).square().expand(end - begin, self._size)
        envelope = overlap_add(squares, hop_length=self._hop)
        shift = (first - begin) * self._hop
        envelope = envelope[shift : shift + like.shape[-1]]
        return envelope.clamp(min=torch.finfo(like.dtype).tiny)


def _single(lstm: nn.LSTM, layer: int, direction: int) -> nn.LSTM:
    """Return one layer of an LSTM in one direction, with the same weights."""
    suffix = f"_l{layer}" + ("_reverse" if direction else "")
    weight = getattr(lstm, "weight_ih" + suffix)
    cell = nn.LSTM(weight.shape[1], lstm.hidden_size, batch_first=True, device="meta")
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name + "_l0", getattr(lstm, name + suffix))
    return cell.train(lstm.training)


def config_from_published(kwargs: Mapping[str, Any]) -> OpenUnmixConfig:
    """Return what the arguments of published networks mean here.

    Args:
        kwargs: Those of the class ``OpenUnmix`` and, optionally, of ``Separator`` (``niter``,
            ``softmask``, ``residual``, ``wiener_win_len``, ``n_fft``, ``n_hop``,
            ``sample_rate``), with ``targets``, the names of the networks in their order.

    Raises:
        ConfigError: If they ask for what this model does not have; with all problems at once.
    """
    given = published_arguments(
        kwargs,
        defaults={
            "targets": ("vocals", "drums", "bass", "other"), "nb_bins": None, "nb_channels": 2,
            "hidden_size": 512, "nb_layers": 3, "unidirectional": False, "max_bin": None,
            "niter": 1, "softmask": False, "residual": False, "wiener_win_len": 300,
            "n_fft": None, "n_hop": None, "sample_rate": 44100,
        },
        ignored={"input_mean", "input_scale", "filterbank", "target_models"},
        source="OpenUnmix",
    )  # fmt: skip
    n_fft = given["n_fft"] or (2 * (given["nb_bins"] - 1) if given["nb_bins"] else 4096)
    residual = "rest" if given["residual"] else None
    return OpenUnmixConfig(
        targets=given["targets"],
        residual_target=residual,
        num_channels=given["nb_channels"],
        num_fft=n_fft,
        hop_length=given["n_hop"] or n_fft // 4,
        max_bin=given["max_bin"],
        hidden_size=given["hidden_size"],
        recurrent_depth=given["nb_layers"],
        unidirectional=given["unidirectional"],
        wiener_iterations=given["niter"],
        wiener_frames=given["wiener_win_len"] or 300,
        softmask=given["softmask"],
        sample_rate=round(given["sample_rate"]),
    )


def convert_state(state: Mapping[str, Tensor], config: OpenUnmixConfig) -> dict[str, Tensor]:
    """Return the tensors of published networks under the names of :class:`OpenUnmix`.

    Args:
        state: Tensors named ``TARGET.fc1.weight`` and so on, or as a published ``Separator`` names
            them (``target_models.TARGET.fc1.weight``), or without a target where there is one.
            Windows of transforms, which old files hold, are dropped.
        config: What the model is built from.
    """
    named = {}
    for name, tensor in state.items():
        new = name.removeprefix("target_models.")
        for index, target in enumerate(config.targets):
            new = (
                new.replace(f"{target}.", f"nets.{index}.", 1)
                if new.startswith(f"{target}.")
                else new
            )
        if not new.startswith("nets.") and len(config.targets) == 1:
            new = f"nets.0.{new}"
        named[new] = tensor
    rules = [
        (r"\.fc1\.", ".encode."),
        (r"\.fc2\.", ".reduce."),
        (r"\.fc3\.", ".decode."),
        (r"\.bn1\.", ".encode_norm."),
        (r"\.bn2\.", ".reduce_norm."),
        (r"\.bn3\.", ".decode_norm."),
    ]
    dropped = [r"(.*\.)?(i?stft|transform\.\d+)\..*", r"(.*\.)?sample_rate"]
    return rename(named, rules, dropped=dropped)
