"""The recurrence of the LSTMs of many runs: on a GPU a kernel for each step, of all runs together.

    gates       (steps, runs, sequences, 4 * hidden)    what the inputs give
    weight      (runs, 4 * hidden, hidden)              `weight_hh_l0` of each run
    outputs     (steps, runs, sequences, hidden)

A step's kernel multiplies and bends at once; the units of a run are divided among several programs,
and each step waits for the one before. At most 16 sequences of a run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ModuleNotFoundError:  # a build of torch for the CPU comes without
    triton = None

_UNITS = 16  # of a run, that one program works out


class Recurrence(torch.autograd.Function):
    """From gates and weights to outputs, from a state of zeros."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor) -> Tensor:
        """Return the outputs."""
        steps, runs, sequences, size = gates.shape
        outputs = gates.new_empty(steps + 1, runs, sequences, size // 4)
        outputs[0].zero_()
        cells, curved = torch.empty_like(outputs), torch.empty_like(gates)
        cells[0].zero_()
        forward = _forward_fused if gates.is_cuda and triton else _forward
        forward(gates, weight, outputs, cells, curved)
        ctx.save_for_backward(outputs, cells, curved, weight)
        return outputs[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of gates and weights."""
        outputs, cells, curved, weight = ctx.saved_tensors
        into = gradients[0].clone(memory_format=torch.contiguous_format)
        of_gates = torch.empty_like(curved)
        backward = _backward_fused if into.is_cuda and triton else _backward
        backward(into, weight, cells, curved, of_gates)
        left, right = (
            part.transpose(0, 1).reshape(len(weight), -1, part.shape[-1])
            for part in (of_gates, outputs[:-1])
        )
        return of_gates, left.transpose(1, 2) @ right


def _forward(gates: Tensor, weight: Tensor, outputs: Tensor, cells: Tensor, curved: Tensor) -> None:
    """Fill outputs and cells from place 1 on, and the gates after their curves."""
    for step in range(len(gates)):
        i, f, g, o = (gates[step] + outputs[step] @ weight.transpose(1, 2)).chunk(4, dim=-1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        cells[step + 1] = f * cells[step] + i * g
        outputs[step + 1] = o * cells[step + 1].tanh()
        curved[step] = torch.cat([i, f, g, o], dim=-1)


def _backward(
    into: Tensor, weight: Tensor, cells: Tensor, curved: Tensor, of_gates: Tensor
) -> None:
    """Fill the gradients of the gates; `into`, those of the outputs, is added to."""
    of_cell = torch.zeros_like(cells[0])
    for step in reversed(range(len(into))):
        i, f, g, o = curved[step].chunk(4, dim=-1)
        out = cells[step + 1].tanh()
        total = of_cell + into[step] * o * (1 - out * out)
        parts = (
            total * g * i * (1 - i),
            total * cells[step] * f * (1 - f),
            total * i * (1 - g * g),
            into[step] * out * o * (1 - o),
        )
        of_gates[step] = torch.cat(parts, dim=-1)
        of_cell = total * f
        if step:
            into[step - 1] += of_gates[step] @ weight


def _forward_fused(
    gates: Tensor, weight: Tensor, outputs: Tensor, cells: Tensor, curved: Tensor
) -> None:
    """Do as `_forward` does."""
    steps, runs, sequences, size = gates.shape
    weight = weight.contiguous()
    for step in range(steps):
        _forward_step[(runs, size // 4 // _UNITS)](
            gates,
            weight,
            outputs,
            cells,
            curved,
            step,
            sequences=sequences,
            hidden=size // 4,
            units=_UNITS,
        )


def _backward_fused(
    into: Tensor, weight: Tensor, cells: Tensor, curved: Tensor, of_gates: Tensor
) -> None:
    """Do as `_backward` does."""
    steps, runs, sequences, hidden = into.shape
    weight = weight.contiguous()
    of_cells = torch.zeros_like(cells)
    for step in reversed(range(steps)):
        _backward_step[(runs, hidden // _UNITS)](
            into,
            weight,
            cells,
            curved,
            of_gates,
            of_cells,
            step,
            sequences=sequences,
            hidden=hidden,
            units=_UNITS,
        )


if triton:

    @triton.jit(do_not_specialize=["step"])
    def _forward_step(  # type: ignore[no-untyped-def]
        gates,
        weight,
        outputs,
        cells,
        curved,
        step,
        sequences: tl.constexpr,
        hidden: tl.constexpr,
        units: tl.constexpr,
    ):
        """Work out some units of one run in one step."""
        run = tl.program_id(0)
        runs = tl.num_programs(0)
        row = tl.arange(0, 16)
        before = tl.arange(0, hidden)
        unit = tl.program_id(1) * units + tl.arange(0, units)
        there = (row < sequences)[:, None]
        line = (step * runs + run) * sequences + row  # of a sequence in this step
        known = tl.load(outputs + line[:, None] * hidden + before[None, :], mask=there, other=0.0)
        own = weight + run * 4 * hidden * hidden + unit[None, :] * hidden + before[:, None]
        at = line[:, None] * 4 * hidden + unit[None, :]
        size = hidden * hidden
        i = tl.load(gates + at, mask=there, other=0.0)
        f = tl.load(gates + at + hidden, mask=there, other=0.0)
        g = tl.load(gates + at + 2 * hidden, mask=there, other=0.0)
        o = tl.load(gates + at + 3 * hidden, mask=there, other=0.0)
        i += tl.dot(known, tl.load(own), input_precision="tf32")
        f += tl.dot(known, tl.load(own + size), input_precision="tf32")
        g += tl.dot(known, tl.load(own + 2 * size), input_precision="tf32")
        o += tl.dot(known, tl.load(own + 3 * size), input_precision="tf32")
        i = tl.sigmoid(i)
        f = tl.sigmoid(f)
        g = 2 * tl.sigmoid(2 * g) - 1  # the hyperbolic tangent
        o = tl.sigmoid(o)
        place = line[:, None] * hidden + unit[None, :]
        following = place + runs * sequences * hidden
        cell = f * tl.load(cells + place, mask=there, other=0.0) + i * g
        tl.store(cells + following, cell, mask=there)
        tl.store(outputs + following, o * (2 * tl.sigmoid(2 * cell) - 1), mask=there)
        tl.store(curved + at, i, mask=there)
        tl.store(curved + at + hidden, f, mask=there)
        tl.store(curved + at + 2 * hidden, g, mask=there)
        tl.store(curved + at + 3 * hidden, o, mask=there)

    @triton.jit(do_not_specialize=["step"])
    def _backward_step(  # type: ignore[no-untyped-def]
        into,
        weight,
        cells,
        curved,
        of_gates,
        of_cells,
        step,
        sequences: tl.constexpr,
        hidden: tl.constexpr,
        units: tl.constexpr,
    ):
        """Work out the gradients of one run's gates, and of some units in the step before."""
        run = tl.program_id(0)
        runs = tl.num_programs(0)
        row = tl.arange(0, 16)
        every = tl.arange(0, hidden)
        unit = tl.program_id(1) * units + tl.arange(0, units)
        there = (row < sequences)[:, None]
        line = (step * runs + run) * sequences + row
        place = line[:, None] * hidden + every[None, :]
        following = place + runs * sequences * hidden
        at = line[:, None] * 4 * hidden + every[None, :]
        i = tl.load(curved + at, mask=there, other=0.0)
        f = tl.load(curved + at + hidden, mask=there, other=0.0)
        g = tl.load(curved + at + 2 * hidden, mask=there, other=0.0)
        o = tl.load(curved + at + 3 * hidden, mask=there, other=0.0)
        output = tl.load(into + place, mask=there, other=0.0)
        out = 2 * tl.sigmoid(2 * tl.load(cells + following, mask=there, other=0.0)) - 1
        total = tl.load(of_cells + following, mask=there, other=0.0)
        total += output * o * (1 - out * out)
        of_i = total * g * i * (1 - i)
        of_f = total * tl.load(cells + place, mask=there, other=0.0) * f * (1 - f)
        of_g = total * i * (1 - g * g)
        of_o = output * out * o * (1 - o)
        first = there & (tl.program_id(1) == 0)  # one of the programs writes what all work out
        tl.store(of_cells + place, total * f, mask=first)
        tl.store(of_gates + at, of_i, mask=first)
        tl.store(of_gates + at + hidden, of_f, mask=first)
        tl.store(of_gates + at + 2 * hidden, of_g, mask=first)
        tl.store(of_gates + at + 3 * hidden, of_o, mask=first)
        if step > 0:
            size = hidden * hidden
            own = weight + run * 4 * size + every[:, None] * hidden + unit[None, :]
            back = tl.dot(of_i, tl.load(own), input_precision="tf32")
            back += tl.dot(of_f, tl.load(own + size), input_precision="tf32")
            back += tl.dot(of_g, tl.load(own + 2 * size), input_precision="tf32")
            back += tl.dot(of_o, tl.load(own + 3 * size), input_precision="tf32")
            earlier = line[:, None] * hidden + unit[None, :] - runs * sequences * hidden
            back += tl.load(into + earlier, mask=there, other=0.0)
            tl.store(into + earlier, back, mask=there)
