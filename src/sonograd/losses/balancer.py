"""Balance several losses by the size of their gradients."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sonograd.errors import ParameterError

__all__ = ["Balancer"]


class Balancer(nn.Module):
    r"""Give every loss the share of the gradient that its weight says, whatever its scale.

    With the gradient :math:`g_i` of loss :math:`i` by the output :math:`y` of a network, and a
    moving average :math:`\bar n_i` of its norm, the output receives

    .. math::
        \sum_i R \, \frac{w_i}{\sum_j w_j} \, \frac{g_i}{\bar n_i}

    Défossez et al., *High fidelity neural audio compression*, arXiv:2210.13438, section 3.4. A
    loss without gradient has no part; averages are kept in the state of the module, and are those
    of all processes in distributed training.

    >>> y = torch.ones(1, 4, requires_grad=True)
    >>> balancer = Balancer({"small": 1.0, "large": 1.0})
    >>> _ = balancer.backward({"small": 1e-3 * y.sum(), "large": -1e3 * y[:, :1].sum()}, y)
    >>> y.grad
    tensor([[-0.2500,  0.2500,  0.2500,  0.2500]])
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        *,
        total_norm: float = 1.0,
        decay: float = 0.999,
        per_item: bool = True,
    ) -> None:
        """Choose the shares.

        Args:
            weights: Weight of every loss by name, at least 0, one above.
            total_norm: :math:`R`, the norm that the weighted sum of gradients would have if all
                pointed in the same direction, per item or in all.
            decay: Of the moving average, in [0, 1): 0 takes each norm as it is.
            per_item: Norms are means over the first axis of the output, each item's own, as the
                losses of a batch are means over it.
        """
        super().__init__()
        if not weights or any(not w >= 0 for w in weights.values()) or not sum(weights.values()):
            raise ParameterError(
                f"weights is {dict(weights)}; expected numbers >= 0, one of them positive"
            )
        if not 0 <= decay < 1:
            raise ParameterError(f"decay is {decay}; expected a number in [0, 1)")
        if not total_norm > 0:
            raise ParameterError(f"total_norm is {total_norm}; expected a positive number")
        self.weights = dict(weights)
        self.total_norm, self.decay, self.per_item = total_norm, decay, per_item
        self.register_buffer("sums", torch.zeros(len(weights), dtype=torch.float64))
        self.register_buffer("counts", torch.zeros(len(weights), dtype=torch.float64))

    sums: Tensor
    counts: Tensor

    def backward(self, losses: Mapping[str, Tensor], output: Tensor) -> dict[str, float]:
        """Back-propagate the balanced sum through ``output``.

        Args:
            losses: Scalars by name; those left out have no part in this step.
            output: What all of them were computed from, still connected to the network.

        Returns:
            The norm of each gradient before balancing, for the log.

        Raises:
            ParameterError: If a loss has no weight, does not depend on ``output``, or has a
                gradient that is not finite; then nothing was back-propagated.
        """
        unknown = sorted(set(losses) - set(self.weights))
        if unknown:
            raise ParameterError(
                f"there is no weight for {', '.join(unknown)}; got weights for "
                f"{', '.join(self.weights)}"
            )
        gradients = {name: _gradient(name, loss, output) for name, loss in losses.items()}
        norms = {name: self._norm(gradient) for name, gradient in gradients.items()}
        for name, norm in norms.items():
            if not norm < float("inf"):
                raise ParameterError(f"the gradient of {name} has norm {norm}; expected a number")
        averages = self._average(norms)
        share = self.total_norm / sum(self.weights[name] for name in losses or self.weights)
        total = torch.zeros_like(output)
        for name, gradient in gradients.items():
            if averages[name] > 0:
                total.add_(gradient, alpha=share * self.weights[name] / averages[name])
        if self.per_item and output.ndim:
            total /= output.shape[0]
        output.backward(total)
        return norms

    def _norm(self, gradient: Tensor) -> float:
        """Return the norm, the mean over items if ``per_item``."""
        gradient = gradient.float() if gradient.dtype != torch.float64 else gradient
        if self.per_item and gradient.ndim > 1:
            return float(gradient.flatten(1).norm(dim=-1).mean())
        if self.per_item and gradient.ndim:
            return float(gradient.abs().mean())
        return float(gradient.norm())

    def _average(self, norms: Mapping[str, float]) -> dict[str, float]:
        """Move the averages; return them, corrected for their start at zero."""
        names = list(self.weights)
        seen = torch.tensor(
            [[norms.get(name, 0.0) for name in names], [float(name in norms) for name in names]],
            dtype=torch.float64,
        )
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            seen = seen.to(self.sums.device)
            torch.distributed.all_reduce(seen)
        totals, counts = seen.to(self.sums)
        present = counts > 0
        fresh = totals / counts.clamp(min=1.0)
        self.sums[present] = (self.decay * self.sums + (1 - self.decay) * fresh)[present]
        self.counts[present] = (self.decay * self.counts + (1 - self.decay))[present]
        averages = self.sums / self.counts.clamp(min=torch.finfo(torch.float64).tiny)
        return dict(zip(names, averages.tolist(), strict=True))


def _gradient(name: str, loss: Tensor, output: Tensor) -> Tensor:
    """Return the derivative of a loss by the output."""
    if loss.numel() != 1:
        raise ParameterError(f"the loss {name} has shape {tuple(loss.shape)}; expected a scalar")
    if not loss.requires_grad:
        raise ParameterError(f"the loss {name} has no gradient; was it detached?")
    (gradient,) = torch.autograd.grad(loss.sum(), output, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ParameterError(
            f"the loss {name} does not depend on the given output; compute it from that tensor"
        )
    return gradient
