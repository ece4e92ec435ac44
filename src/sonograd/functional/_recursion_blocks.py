"""Blocks of a recursive filter, one after the other: in torch, and as one operator of a graph.

With the matrices of :mod:`sonograd.functional.recursion`, ``y = s O + x T`` and
``s' = s P + x R`` for each block, all vectors being rows.

Reverse mode is written by hand and keeps the signal and the block states only; the recursion of
the gradient is the same machine run backward. Forward mode and ``vmap`` take the plain form, whose
every operation torch can transform: a function with a forward rule of its own could not be
compiled.

How many blocks of blocks there are depends on the length in a way that no graph with symbolic
lengths can express: an exported graph holds the operator ``sonograd::filter_blocks``.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from sonograd.functional._transforms import differentiated_again, plain_form_needed

__all__ = ["BLOCK", "filter_blocks"]

BLOCK = 64  # samples per block, a power of two
_FAN = 16  # blocks per step of the scan


def filter_blocks(
    x: Tensor, first: Tensor, toeplitz: Tensor, outputs: Tensor, inputs: Tensor, power: Tensor
) -> tuple[Tensor, Tensor]:
    """Filter rows of samples block by block.

    Args:
        x: ``(filters, rows, samples)``.
        first: The state to begin with, ``(filters, rows, n)``.
        toeplitz: :math:`T`, ``(filters, BLOCK, BLOCK)``.
        outputs: :math:`O`, ``(filters, n, BLOCK)``.
        inputs: :math:`R`, ``(filters, BLOCK, n)``.
        power: :math:`P`, ``(filters, n, n)``.

    Returns:
        The result, like ``x``, and the state before the last block.
    """
    matrices = (toeplitz, outputs, inputs, power)
    if _length_unknown(x.shape[-1]):
        found: tuple[Tensor, Tensor] = _operator(x, first, *matrices)
    elif plain_form_needed(x, first, *matrices):
        found = _plain(x, first, *matrices)
    else:
        found = _BlockFilter.apply(x, first, *matrices)  # type: ignore[no-untyped-call]
    return found


def _length_unknown(samples: int) -> bool:
    """Tell whether a graph is being exported for any number of samples."""
    # Where dynamo traces, a length that may vary looks like a number.
    tracing = torch.compiler.is_dynamo_compiling()
    return torch.compiler.is_exporting() and (tracing or isinstance(samples, torch.SymInt))


def _in_blocks(x: Tensor) -> Tensor:
    """``(filters, rows, samples)`` to ``(filters, rows * blocks, BLOCK)``, filled with zeros."""
    filters, _, samples = x.shape
    missing = -samples % BLOCK
    return (pad(x, (0, missing)) if missing else x).reshape(filters, -1, BLOCK)


def _joined(blocks: Tensor, like: Tensor) -> Tensor:
    filters, rows, samples = like.shape
    return blocks.reshape(filters, rows, -1)[..., :samples]


def _plain(
    x: Tensor, first: Tensor, toeplitz: Tensor, outputs: Tensor, inputs: Tensor, power: Tensor
) -> tuple[Tensor, Tensor]:
    """Output, and the state before the last block."""
    blocks = _in_blocks(x)
    filters, rows, order = first.shape
    states = _scan((blocks @ inputs).reshape(filters, rows, -1, order), power, first)
    y = torch.baddbmm(states.reshape(filters, -1, order) @ outputs, blocks, toeplitz)
    return _joined(y, x), states[:, :, -1]


class _BlockFilter(torch.autograd.Function):
    """:func:`_plain` with its gradient: ``y = s O + x T``, ``s' = s P + x R`` for each block."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        first: Tensor,
        toeplitz: Tensor,
        outputs: Tensor,
        inputs: Tensor,
        power: Tensor,
    ) -> tuple[Tensor, Tensor]:
        blocks = _in_blocks(x)
        filters, rows, order = first.shape
        states = _scan((blocks @ inputs).reshape(filters, rows, -1, order), power, first)
        y = states.reshape(filters, -1, order) @ outputs
        y = y.baddbmm_(blocks, toeplitz)
        ctx.save_for_backward(x, first, states, toeplitz, outputs, inputs, power)
        return _joined(y, x), states[:, :, -1].clone()

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
        x, first, states, toeplitz, outputs, inputs, power = ctx.saved_tensors
        filters, rows, order = first.shape
        blocks, grad = _in_blocks(x), _in_blocks(grad_y)
        if differentiated_again():
            states = _scan((blocks @ inputs).reshape(filters, rows, -1, order), power, first)
        direct = (grad @ outputs.mT).reshape(filters, rows, -1, order)
        final = direct[:, :, -1:] + grad_last[:, :, None]
        direct = torch.cat([final, direct[:, :, :-1].flip(2)], 2)
        later = _scan(direct, power.mT, torch.zeros_like(first)).flip(2)
        grad_first = later[:, :, 0] @ power.mT + direct[:, :, -1]
        states, later = (v.reshape(filters, -1, order) for v in (states, later))
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = _joined(torch.baddbmm(later @ inputs.mT, grad, toeplitz.mT), x)
        if not any(ctx.needs_input_grad[2:]):
            return grad_x, grad_first, None, None, None, None
        samples, before = blocks.mT, states.mT
        return (
            grad_x,
            grad_first,
            samples @ grad,
            before @ grad,
            samples @ later,
            before @ later,
        )


def _scan(driven: Tensor, power: Tensor, first: Tensor) -> Tensor:
    """State before each block, ``s[k + 1] = s[k] power + driven[k]`` with ``s[0] = first``.

    Args:
        driven: ``(filters, rows, blocks, n)``.
        power: ``(filters, n, n)``, applied from the right.
        first: ``(filters, rows, n)``.
    """
    filters, rows, blocks, order = driven.shape
    if blocks <= _FAN:
        states = [first]
        for k in range(blocks - 1):
            states.append(torch.baddbmm(driven[:, :, k], states[-1], power))
        return torch.stack(states, 2)
    groups = -(-blocks // _FAN)
    driven = pad(driven, (0, 0, 0, groups * _FAN - blocks))
    driven = driven.reshape(filters, rows * groups, _FAN, order)
    local = [driven[:, :, 0]]
    for k in range(1, _FAN):
        local.append(torch.baddbmm(driven[:, :, k], local[-1], power))
    coarse = local[-1].reshape(filters, rows, groups, order)
    leap = torch.linalg.matrix_power(power, _FAN)
    state = _scan(coarse, leap, first).reshape(filters, rows * groups, order)
    states = [state]
    for k in range(_FAN - 1):
        states.append(torch.baddbmm(driven[:, :, k], states[-1], power))
    whole = torch.stack(states, 2).reshape(filters, rows, groups * _FAN, order)
    return whole[:, :, :blocks]


@torch.library.custom_op("sonograd::filter_blocks", mutates_args=())
def _operator(
    x: Tensor, first: Tensor, toeplitz: Tensor, outputs: Tensor, inputs: Tensor, power: Tensor
) -> tuple[Tensor, Tensor]:
    y, last = _plain(x, first, toeplitz, outputs, inputs, power)
    return y.contiguous(), last.clone()  # Neither a view, nor of other strides than announced.


@_operator.register_fake
def _operator_shapes(
    x: Tensor, first: Tensor, toeplitz: Tensor, outputs: Tensor, inputs: Tensor, power: Tensor
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), first.new_empty(first.shape)


@torch.library.custom_op("sonograd::filter_blocks_gradient", mutates_args=())
def _operator_gradient(tensors: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
    x, first, toeplitz, outputs, inputs, power = tensors
    filters, rows, order = first.shape
    states = _scan((_in_blocks(x) @ inputs).reshape(filters, rows, -1, order), power, first)
    kept = (x, first, states, toeplitz, outputs, inputs, power)
    context = SimpleNamespace(saved_tensors=kept, needs_input_grad=(True,) * len(tensors))
    return [v.clone() for v in _BlockFilter.backward(context, *grads) if v is not None]


@_operator_gradient.register_fake
def _operator_gradient_shapes(tensors: Sequence[Tensor], grads: Sequence[Tensor]) -> list[Tensor]:
    return [torch.empty_like(v) for v in tensors]


def _keep_tensors(ctx: Any, inputs: tuple[Tensor, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
    return tuple(_operator_gradient(ctx.saved_tensors, grads))


_operator.register_autograd(_gradients, setup_context=_keep_tensors)
