"""Train all runs of a cross-validation beside each other on one GPU; see `tools.crossval_pack`.

    python -m tools.crossval_stacked esc50.pack --out trained --seconds 550

The steps of all runs are one CUDA graph. Before it begins it measures a step, and where the epochs
of the recipe do not fit into the seconds given, trains fewer, the same for all runs. Without a GPU
it takes the same steps on the CPU. What there is after three quarters of the epochs, and more, is
written too, so that a kill does not lose everything.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tools.crossval_pack import read_pack
from tools.stacked_network import StackedNetwork
from tools.stacked_training import Array, Bank, Plan, Run, Stack, Step, make_plan
from torch import Tensor

from earmark.config import ModelSettings
from earmark.nn.classifier import LSTMClassifier
from earmark.training.stopping import Progress

_BLOCK = 40  # steps that are sent to the device at once
_AHEAD = 3  # epochs of each run that are drawn ahead
_TIMED = 60  # steps that are timed
_KEPT_AFTER = (0.75, 0.9, 0.95)  # of the epochs
_RUNS_A_FILE = 8
_MARGIN = 1.06  # of the time that steps are reckoned to take
_OF_VALIDATION = 0.015  # seconds that are reckoned for one
_OF_REST = 15.0  # seconds that are reckoned for the start and for saving
_MOST_APART = 2e-2
_BEGAN = time.monotonic()

_worker: dict[str, Any] = {}


def seconds() -> float:
    """Return the seconds since the start."""
    return time.monotonic() - _BEGAN


def tell(line: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{seconds():6.1f} s] {line}", flush=True)


def _set_worker(plan: Plan, runs: Sequence[Run]) -> None:
    torch.set_num_threads(1)
    _worker.update(plan=plan, runs=runs)


def _draw(number: int, epoch: int) -> Array:
    choices: Array = _worker["plan"].draw_epoch(_worker["runs"][number], epoch)
    return choices


class Draws:
    """The choices of all runs, drawn by other processes a few epochs ahead.

    Args:
        pool: the processes, each after `_set_worker`.
        number: number of the run.
        epochs: epochs of the recipe.
    """

    def __init__(self, pool: ProcessPoolExecutor, number: int, epochs: int) -> None:
        self._pool, self._number, self._epochs = pool, number, epochs
        self._waiting: deque[Future[Array]] = deque()
        self._next = 1

    def __call__(self, epoch: int) -> Array:
        """Return the choices of an epoch; they are asked for in order."""
        while self._next <= min(self._epochs, epoch + _AHEAD):
            self._waiting.append(self._pool.submit(_draw, self._number, self._next))
            self._next += 1
        return self._waiting.popleft().result()


class Feeder:
    """Sends the choices of many steps to the device at once.

    Args:
        stack: the runs.
        draws: of each run.
    """

    def __init__(self, stack: Stack, draws: Sequence[Callable[[int], Array]]) -> None:
        pairs = zip(stack.runs, draws, strict=True)
        self._courses = [stack.plan.follow(run, draw) for run, draw in pairs]
        self._ahead = [next(course) for course in self._courses]
        self._stack, device = stack, stack.choices.device
        pinned = device.type == "cuda"
        self._host = [
            tuple(
                torch.empty(_BLOCK, *like.shape, pin_memory=pinned)
                for like in (stack.choices, stack.scalars)
            )
            for _ in range(2)
        ]
        self._sent: list[Any] = [None, None]
        self._turn, self._place = 0, _BLOCK
        self._block: tuple[Tensor, ...] = ()
        self._steps: list[list[Step]] = []

        stack.begin(np.stack([step.choices for step in self._ahead]))

    def next(self) -> list[Step]:
        """Give the stack what its next step needs, and return it."""
        if self._place == _BLOCK:
            self._fill()
        choices, scalars = self._block
        self._stack.choices.copy_(choices[self._place])
        self._stack.scalars.copy_(scalars[self._place])
        self._place += 1
        return self._steps[self._place - 1]

    def _fill(self) -> None:
        choices, scalars = self._host[self._turn]
        if self._sent[self._turn] is not None:
            self._sent[self._turn].synchronize()
        rows, numbers = choices.numpy(), scalars.numpy()
        self._steps = []
        for place in range(_BLOCK):
            steps, self._ahead = self._ahead, [next(course) for course in self._courses]
            for number, (step, following) in enumerate(zip(steps, self._ahead, strict=True)):
                rows[place, number] = following.choices
                numbers[place, number] = step.scalars
            self._steps.append(steps)
        device = self._stack.choices.device
        self._block = tuple(part.to(device, non_blocking=True) for part in (choices, scalars))
        if device.type == "cuda":
            self._sent[self._turn] = torch.cuda.Event()
            self._sent[self._turn].record()
        self._turn, self._place = 1 - self._turn, 0


class Validation:
    """Scores the clips that a run holds out with its averaged weights.

    Args:
        bank: the clips, on the device.
        run: the run.
        model: a network of that shape, to be filled.
    """

    def __init__(self, bank: Bank, run: Run, model: LSTMClassifier) -> None:
        device = bank.labels.device
        self.model = model.to(device).eval()
        clips = torch.from_numpy(run.validation).to(device)
        self._lengths, self._labels = bank.frames[clips], bank.labels[clips]
        starts = (bank.frames.cumsum(0) - bank.frames)[clips]
        places = torch.arange(int(self._lengths.max()), device=device)
        places = torch.minimum(places, self._lengths[:, None] - 1)
        self._frames = bank.features[starts[:, None] + places]

    @torch.inference_mode()
    def measure(self, stack: Stack, number: int) -> tuple[float, float]:
        """Return loss and accuracy of run number `number`."""
        stack.give_average(number, self.model)
        scores = self.model(self._frames, self._lengths)
        right = (scores.argmax(1) == self._labels).float().mean()
        own = scores.gather(1, self._labels[:, None]).clamp_min(1e-12)
        loss, accuracy = torch.stack([-own.log().mean(), right]).tolist()
        return loss, accuracy


def capture(once: Callable[[], object]) -> Callable[[], object]:
    """Return what does something again: a CUDA graph's replay; without a GPU it is done itself.

    It is done three times before.
    """
    if not torch.cuda.is_available():
        return once
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            once()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        once()
    return graph.replay


def time_calls(once: Callable[[], object], count: int) -> float:
    """Return the seconds of a call."""
    for counted in (1, count):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(counted):
            once()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / count


def check_network(stack: Stack) -> float:
    """Return by how much logits and gradients differ at most from the package's, as a share.

    Two networks without dropout on chance frames, on this device. The LSTM's products are in TF32
    on a GPU, as those of cuDNN are unless it is told otherwise.
    """
    network = dataclasses.replace(stack.settings.network, dropout=0.0)
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        shape = ModelSettings(
            input_size=stack.plan.front_end.n_mels,
            num_classes=stack.batches.classes,
            network=network,
        )
        models.append(LSTMClassifier.from_settings(shape).to(stack.choices.device).train())
    both, settings = StackedNetwork(models, stack.choices.device), stack.settings
    size = (2, settings.batch_size, stack.batches.crop_frames, len(stack.runs[0].mean))
    x, worst = torch.randn(size, device=stack.choices.device), 0.0
    found = both.logits(x, settings.clips_per_sequence, stack.window)
    names = [name for name in both.weights if name != "pooling.attention.bias"]  # it cancels
    slopes = torch.autograd.grad(
        _energy(found),
        [both.weights[name] for name in names],
    )
    for number, model in enumerate(models):
        alone = model.logits_of_sequences(x[number], settings.clips_per_sequence, stack.window)
        weights = dict(model.named_parameters())
        of_alone = torch.autograd.grad(
            _energy(alone),
            [weights[name] for name in names],
        )
        pairs = [*zip(found, alone, strict=True), *zip(slopes, of_alone, strict=True)]
        for mine, its in pairs:
            worst = max(worst, float((mine[number] - its).norm() / its.norm()))
    return worst


def _energy(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts]).square().sum()


def train(
    stack: Stack,
    bank: Bank,
    take: Callable[[], object],
    feeder: Feeder,
    keep: Callable[[Sequence[Progress]], object] = lambda _: None,
) -> list[Progress]:
    """Take all steps of all runs; the averages of `stack` are then those to keep.

    Args:
        stack: the runs.
        bank: the clips, on the device.
        take: takes a step.
        feeder: gives the choices.
        keep: is called after some late epochs, to write what there is.
    """
    runs, plan = stack.runs, stack.plan
    progress = [Progress() for _ in runs]
    checks = {
        number: Validation(bank, run, stack.build_model(bank.classes, run))
        for number, run in enumerate(runs)
        if len(run.validation)
    }
    best: dict[int, list[Tensor]] = {}
    late = [round(part * plan.settings.num_epochs) for part in _KEPT_AFTER]
    since = [seconds()] * len(runs)
    total = plan.settings.num_epochs * max(plan.steps(run) for run in runs)
    for count in range(total):
        steps = feeder.next()
        take()
        ended = [number for number, step in enumerate(steps) if step.ends]
        if not ended:
            continue
        totals, now = stack.totals.tolist(), seconds()
        for number in ended:
            loss, correct, decided = totals[number]
            if not math.isfinite(loss):
                raise SystemExit(f"the loss of run {number} became {loss}")
            row: dict[str, Any] = {
                "epoch": steps[number].ends,
                "train_loss": round(loss / plan.steps(runs[number]), 6),
                "train_accuracy": round(correct / max(1.0, decided), 6),
                "learning_rate": steps[number].scalars[0],
                "seconds": round((now - since[number]) / len(runs), 3),
                "validation_loss": None,
                "validation_accuracy": None,
            }
            since[number] = now
            stack.totals[number] = 0
            if number in checks:
                figures = checks[number].measure(stack, number)
                row["validation_loss"], row["validation_accuracy"] = (round(f, 6) for f in figures)
            if progress[number].add(row) and number in checks:
                best[number] = stack.averages(number)
        if steps[-1].ends and steps[-1].ends % 10 == 1:
            rows = [progress[number].history[-1] for number in (0, len(runs) - 1)]
            tell(f"step {count + 1} of {total}: {json.dumps(rows)}")
        if steps[-1].ends in late:
            keep(progress)
    for number, kept in best.items():
        stack.set_averages(number, kept)
    return progress


def save(
    out: Path,
    stack: Stack,
    models: Sequence[LSTMClassifier],
    progress: Sequence[Progress],
    about: Mapping[str, Any],
) -> None:
    """Write the averaged weights of all runs, and what each did.

    Args:
        out: folder.
        stack: the runs.
        models: a network of each run, to be filled.
        progress: of each run.
        about: what is said of all.
    """
    out.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for number, model in enumerate(models):
        stack.give_average(number, model)
        state = model.state_dict().items()
        tensors |= {f"{number}/{name}": tensor.contiguous().clone() for name, tensor in state}
        if number % _RUNS_A_FILE == _RUNS_A_FILE - 1 or number == len(models) - 1:
            save_file(tensors, out / f"models-{number // _RUNS_A_FILE}.safetensors")
            tensors = {}
    runs = [
        {
            "fold": run.fold,
            "seed": run.seed,
            "held_out": len(run.validation) > 0,
            "progress": vars(of_run),
        }
        for run, of_run in zip(stack.runs, progress, strict=True)
    ]
    text = json.dumps({"about": dict(about), "runs": runs})
    (out / "runs.json").write_text(text, encoding="utf-8")


def main(given: Sequence[str] | None = None) -> None:
    """Train what is in a pack."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pack", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=1e9, help="of the whole, at most")
    parser.add_argument("--workers", type=int, default=6, help="processes that draw (6)")
    args = parser.parse_args(given)
    on_host, runs, settings, front_end = read_pack(args.pack)
    plan = make_plan(on_host, runs[0], settings, front_end)
    tell(f"{len(runs)} runs; a step draws {sum(plan.widths)} numbers for a crop")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.workers, context, _set_worker, (plan, runs)) as pool:
        for worker in range(args.workers):
            pool.submit(_draw, 0, worker + 1)  # they begin to start
        _train_pack(on_host, runs, plan, pool, seconds_given=args.seconds, out=args.out)


def _train_pack(
    on_host: Bank,
    runs: Sequence[Run],
    plan: Plan,
    pool: ProcessPoolExecutor,
    *,
    seconds_given: float,
    out: Path,
) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    bank = on_host.to(device)
    stack = Stack(bank, runs, plan)
    models = [stack.build_model(bank.classes, run) for run in runs]
    apart = check_network(stack)
    tell(f"logits and gradients differ by {apart:.1e} of them from the package's")
    if not apart < _MOST_APART:
        raise SystemExit("too much; nothing was trained")
    take, of_step = _capture_step(stack)
    steps = max(plan.steps(run) for run in runs)
    checked = sum(len(run.validation) > 0 for run in runs)
    of_epoch = _MARGIN * steps * of_step + checked * _OF_VALIDATION
    left = seconds_given - seconds() - _OF_REST
    epochs = min(plan.settings.num_epochs, int(left / of_epoch))
    tell(f"{1000 * of_step:.2f} ms a step, {of_epoch:.2f} s an epoch: {epochs} epochs")
    if epochs < 1:
        raise SystemExit("there is no time for an epoch")
    plan.settings = stack.settings = dataclasses.replace(plan.settings, num_epochs=epochs)
    about = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "epochs": epochs,
        "ms_a_step": 1000 * of_step,
        "network_apart": apart,
    }
    feeder = Feeder(stack, [Draws(pool, number, epochs) for number in range(len(runs))])
    begin = seconds()
    progress = train(
        stack,
        bank,
        take,
        feeder,
        keep=lambda so_far: save(out / "part", stack, models, so_far, about),
    )
    about["seconds"] = round(seconds() - begin, 1)
    save(out / "whole", stack, models, progress, about)
    tell(json.dumps(about))


def _capture_step(stack: Stack) -> tuple[Callable[[], object], float]:
    """Return what takes a step, and the seconds of one; the runs are where they were."""
    stack.begin(np.stack([stack.plan.draw_epoch(run, 1)[0] for run in stack.runs]))
    kept = [tensor.clone() for tensor in stack.tensors()]
    take = capture(stack.step)
    of_step = time_calls(take, _TIMED if stack.choices.is_cuda else 1)
    for tensor, before in zip(stack.tensors(), kept, strict=True):
        tensor.copy_(before)
    return take, of_step


if __name__ == "__main__":
    main()
