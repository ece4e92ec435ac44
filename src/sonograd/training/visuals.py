"""What a training shows of itself: TensorBoard logs, and pictures of spectrograms and waveforms."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonograd.data.stems import Example
from sonograd.errors import MissingExtraError
from sonograd.plotting import compare, compare_waveforms
from sonograd.training.module import TrainingModule

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError:
    raise MissingExtraError("training", "train") from None

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Visuals", "make_visuals"]

_RUNS = "runs"
#: Longest excerpt that is drawn and played.
_PREVIEW_SECONDS = 10.0


def make_visuals(module: TrainingModule, folder: Path, preview: Example) -> list["Visuals"]:
    """Return what shows a training as its configuration asks for; nothing if it does not.

    Args:
        module: What is trained.
        folder: The session folder.
        preview: What is separated, drawn and played; the same every time.
    """
    visuals = module.config.visuals
    pictures = visuals.view_spec or visuals.view_wave
    return [Visuals(module, folder, preview)] if visuals.tensorboard or pictures else []


class Visuals(Callback):
    """Writes ``runs/``, ``spectrogram/`` and ``waveform/`` in the first process."""

    def __init__(self, module: TrainingModule, folder: Path, preview: Example) -> None:
        """Remember where things go; nothing is written yet."""
        super().__init__()
        self.module = module
        self.folder = folder
        self.options = module.config.visuals
        samples = round(_PREVIEW_SECONDS * module.separator.sample_rate)
        self.stems = _loudest(preview.stems, samples)
        self._writer: Any = None
        self._loss = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the log."""
        if self.options.tensorboard and trainer.is_global_zero:
            self._writer = _open_log(self.folder / _RUNS, self.module.clock.step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the loss of a step: the mean of its batches."""
        if not (self.options.tensorboard and self.options.view_iter):
            return
        accumulate = self.module.config.accumulate
        self._loss += self.module.last_loss / accumulate
        if (batch_idx + 1) % accumulate:
            return
        loss, self._loss = self.module.merged_loss(self._loss), 0.0
        if self._writer is not None:
            self._writer.add_scalar("loss/iter", loss, self.module.clock.step)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Log weights and gradients at the last step of an epoch, before they are clipped."""
        clock = self.module.clock
        if self._writer is None or clock.step + 1 < clock.epoch_end:
            return
        for name, parameter in self.module.separator.named_parameters():
            if self.options.view_weights:
                self._add_tensor(f"weights/{name}", parameter.detach())
            if self.options.view_grad and parameter.grad is not None:
                self._add_tensor(f"gradients/{name}", parameter.grad)

    def _add_tensor(self, tag: str, x: Tensor) -> None:
        epoch, x = self.module.clock.epoch + 1, x.float().cpu()
        if not torch.isfinite(x).all():
            return
        if self.options.view_norm:
            self._writer.add_scalar(f"norm/{tag}", x.norm().item(), epoch)
        else:
            self._writer.add_histogram(tag, x.numpy(), epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and play the preview when it is time."""
        if not trainer.is_global_zero:
            return
        epoch, options = self.module.clock.epoch, self.options
        draws = options.view_spec or options.view_wave
        plays = self._writer is not None and (options.play_estimate or options.play_residual)
        if epoch % options.image_freq == 0 and (draws or plays):
            self._show(epoch)
        if self._writer is not None:
            self._writer.flush()

    def show_epoch(self, loss: float, scores: Mapping[str, float]) -> None:
        """Log the mean loss of an epoch, and what its validation gave."""
        if self._writer is None or not self.options.view_epoch:
            return
        epoch = self.module.clock.epoch
        self._writer.add_scalar("loss/epoch", loss, epoch)
        for name, value in scores.items():
            tag = "loss/validation" if name == "validation_loss" else f"scores/{name}"
            self._writer.add_scalar(tag, value, epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the log."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _show(self, epoch: int) -> None:
        separator, options = self.module.average.model, self.options
        mix = self.stems.sum(dim=0)
        estimates = separator.separate(mix.to(self.module.device)).cpu()
        rate = separator.sample_rate
        for index, target in enumerate(separator.stems):
            estimate, truth = estimates[index], self.stems[index]
            pair = {f"{target}: estimate": estimate, f"{target}: truth": truth}
            if options.view_spec:
                self._picture("spectrogram", target, epoch, compare(pair, sample_rate=rate))
            if options.view_wave:
                figure = compare_waveforms(pair, sample_rate=rate)
                self._picture("waveform", target, epoch, figure)
            if self._writer is None:
                continue
            if options.play_estimate:
                self._play(f"{target}/estimate", estimate, epoch)
                self._play(f"{target}/true", truth, epoch)
            if options.play_residual:
                self._play(f"{target}/residual_estimate", mix - estimate, epoch)
                self._play(f"{target}/residual_true", mix - truth, epoch)

    def _picture(self, kind: str, target: str, epoch: int, figure: "Figure") -> None:
        path = self.folder / kind / f"{target}_{epoch}_{kind}.png"
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path)
        if self._writer is not None:
            tag = f"{kind}/{target}"
            self._writer.add_image(tag, _pixels(figure), epoch, dataformats="HWC")

    def _play(self, tag: str, audio: Tensor, epoch: int) -> None:
        rate = self.module.separator.sample_rate
        mono = audio.mean(dim=0).clamp(-1.0, 1.0)
        self._writer.add_audio(tag, mono.numpy(), epoch, sample_rate=rate)


def _loudest(stems: Tensor, samples: int) -> Tensor:
    """Return the ``samples`` of ``(stems, channels, total)`` where the first stem is loudest."""
    if stems.shape[-1] <= samples:
        return stems
    starts = range(0, stems.shape[-1] - samples + 1, max(samples // 4, 1))
    energy = [stems[0, :, start : start + samples].square().sum().item() for start in starts]
    start = starts[energy.index(max(energy))]
    return stems[..., start : start + samples]


def _pixels(figure: Any) -> NDArray[np.uint8]:
    """Return a picture as ``(rows, columns, 3)``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _open_log(folder: Path, step: int) -> Any:
    try:
        from tensorboardX import SummaryWriter  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError("TensorBoard logs", "train") from None
    # Files are named after the second they begin in: tell runs within one second apart.
    return SummaryWriter(str(folder), purge_step=step or None, filename_suffix=f".{step}")
