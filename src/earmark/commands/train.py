"""`earmark train` and `lstm_classifier_train.py`: train on a split, test once. Layer 7."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.commands.flags import add_cuda, add_splits_dir, splits_folder
from earmark.errors import RunError
from earmark.settings import TrainingSettings

if TYPE_CHECKING:
    import accelerate

    from earmark.artifact import TrainedModel
    from earmark.data.splits import Split
    from earmark.training.state import ResumeState

_DEFAULTS = TrainingSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of training; the documented ones keep their names and defaults."""

    def setting(name: str, kind: type, text: str) -> None:
        default = getattr(_DEFAULTS, name)
        parser.add_argument(
            f"--{name}", type=kind, metavar=kind.__name__.upper(), help=f"{text} ({default})"
        )

    parser.add_argument(
        "--split_index", type=int, default=None, metavar="INT", help="split to train on, 0-4 (0)"
    )
    parser.add_argument("--output_dir", metavar="DIR", help="folder of the runs (models)")
    setting("batch_size", int, "clips in one step, over all processes")
    setting("num_epochs", int, "most epochs")
    setting("learning_rate", float, "highest learning rate")
    setting("hidden_size", int, "units of each LSTM layer")
    setting("num_layers", int, "LSTM layers")
    setting("dropout", float, "share of units dropped while training")
    setting("patience", int, "epochs without progress, in the second half, before stopping")
    add_cuda(parser)
    add_splits_dir(parser)
    setting("seed", int, "seed of weights, order, augmentation and dropout")
    parser.add_argument(
        "--bidirectional", action="store_true", help="also read backwards; cannot stream"
    )
    parser.add_argument("--precision", choices=("no", "fp16", "bf16"), help="mixed precision (no)")
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run, with its own settings"
    )
    parser.epilog = (
        "Writes OUTPUT_DIR/lstm-HIDDEN-LAYERS-UNIXTIME/ with the model, its history and curves,\n"
        "and the results on the test part, which is scored once, at the end.\n\n"
        "examples:\n"
        "  python lstm_classifier_train.py --split_index 0\n"
        "  python lstm_classifier_train.py --hidden_size 64 --num_epochs 20 --seed 1\n"
        "  python lstm_classifier_train.py --resume models/lstm-128-2-1767225600\n"
        "  accelerate launch --num_processes 2 lstm_classifier_train.py --cuda       # two GPUs\n"
        "  accelerate launch --multi_gpu --num_processes 2 lstm_classifier_train.py  # two CPUs"
    )


def _recipe(args: argparse.Namespace) -> tuple[TrainingSettings, list[str]]:
    """Return the recipe with the flags that were given, and the names of those flags."""
    given = {
        name: getattr(args, name)
        for name in (
            *("batch_size", "num_epochs", "learning_rate", "hidden_size", "num_layers"),
            *("dropout", "patience", "seed"),
        )
        if getattr(args, name) is not None
    }
    if args.bidirectional:
        given["bidirectional"] = True
    return TrainingSettings(**given), list(given)


def run(args: argparse.Namespace) -> int:
    """Train, or go on training, then score the test part once; return the exit code."""
    settings, given = _recipe(args)
    given += [n for n in ("split_index", "output_dir") if getattr(args, n) is not None]
    if args.resume and given:
        flags = [f"--{name}" for name in given]
        raise RunError(
            f"--resume goes on with the run's own settings; leave out {', '.join(flags)}"
        )
    from earmark.data.splits import read_split
    from earmark.training.loop import Run, refuse_other_data, resumable

    state: ResumeState | None = None
    source: dict[str, Any] = {}
    splits_dir, index = splits_folder(args.splits_dir, args.beside), args.split_index or 0
    if args.resume:
        settings, source, state = resumable(Path(args.resume))
        index = int(source["split_index"])
        if args.splits_dir is None:
            splits_dir = Path(source["splits_dir"])
    split = read_split(splits_dir, index)
    accelerator = _accelerator(args.cuda, args.precision or source.get("precision"))
    source = {
        "splits_dir": str(splits_dir.resolve()),
        "split_index": index,
        "precision": str(accelerator.mixed_precision),
    }
    training = Run(split, settings, accelerator, source=source)
    if state:
        refuse_other_data(state, split, Path(args.resume))
        training.resume(state)
        accelerator.print(f"going on after epoch {training.progress.epochs_done}")
    accelerator.print(
        f"training on {split.dataset}, split {split.index}: {len(training.batches.labels)} clips, "
        f"{len(training.validation)} for validation, {len(split.test)} for the test; "
        f"device {accelerator.device.type}, {accelerator.num_processes} process(es)"
    )
    folder = Path(args.resume) if args.resume else _new_run(args, settings, accelerator)
    try:
        trained = training.train(folder)
        if accelerator.is_main_process:
            _test_once(folder, trained, split, accelerator.device.type)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_left_behind(folder)) from None
    finally:
        if accelerator.is_main_process and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    training.close()
    if accelerator.num_processes > 1:
        # Everything is written and closed. An ordinary exit would now tear down the threads of
        # torch's process group in any order, and now and then abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _accelerator(cuda: bool, precision: str | None) -> accelerate.Accelerator:
    """Set up device, precision and processes; say so when CUDA is missing."""
    import accelerate
    import torch

    there = cuda and torch.cuda.is_available()
    try:
        accelerator = accelerate.Accelerator(cpu=not there, mixed_precision=precision)
    except ValueError as error:
        raise RunError(f"--precision {precision}: {error}") from None
    if cuda and not there:
        accelerator.print("CUDA is not available; going on with the CPU")
    return accelerator


def _new_run(
    args: argparse.Namespace, settings: TrainingSettings, accelerator: accelerate.Accelerator
) -> Path:
    """Make `OUTPUT_DIR/lstm-HIDDEN-LAYERS-UNIXTIME`, the same for all processes."""
    from accelerate.utils import broadcast_object_list

    folder, fault = Path(), None
    if accelerator.is_main_process:
        second = int(time.time())
        while True:
            name = f"lstm-{settings.hidden_size}-{settings.num_layers}-{second}"
            folder = Path(args.output_dir or "models") / name
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                if not folder.is_dir():
                    fault = f"{folder}: is a file where a folder is needed"
                    break
                second += 1
            except OSError as error:
                fault = f"{folder}: cannot be made ({error.strerror}); use another --output_dir"
                break
    folder, fault = broadcast_object_list([folder, fault])
    if fault:
        raise RunError(fault)
    return folder


def _test_once(folder: Path, trained: TrainedModel, split: Split, device: str) -> None:
    """Score the test part with the finished model, write the results, end the run."""
    from earmark.artifact import load_model
    from earmark.evaluation.results import evaluate, summary, write_results
    from earmark.training.state import remove_state

    training = trained.training
    print(
        f"{training['epochs']} epochs, {training['stopped']}; kept epoch {training['epoch']}: "
        f"validation accuracy {100 * training['validation_accuracy']:.1f} %"
    )
    tested = load_model(folder)
    tested.model.to(device)
    results = evaluate(
        tested, split, batch_size=training["recipe"]["batch_size"], model_name=folder.name
    )
    write_results(folder / "results.json", results)
    remove_state(folder)
    print(summary(results))
    print(f"wrote {folder}")


def _left_behind(folder: Path) -> str:
    """Say what an interrupted run leaves and how to go on."""
    if not (folder / "resume" / "state.safetensors").is_file():
        return " before the first epoch ended; start again"
    return f"; the best model so far stays in {folder}; go on with --resume {folder}"
