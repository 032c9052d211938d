"""`earmark train` and `lstm_classifier_train.py`: train a model, test it once."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.commands.datasets import DATASETS, add_dataset_flags, hear, refuse_failures
from earmark.commands.flags import (
    accelerator_for,
    add_cuda,
    add_other_settings,
    add_precision,
    add_settings,
    add_splits_dir,
    given_settings,
    splits_folder,
)
from earmark.config import FrontEndSettings, TrainingSettings, from_json
from earmark.config.recipes import NETWORK_NAMES, Recipe, read_recipe
from earmark.errors import RunError, SettingsError
from earmark.io.files import refuse_unwritable

if TYPE_CHECKING:
    import accelerate

    from earmark.data.splits import Split
    from earmark.model_directory import TrainedModel

_DOCUMENTED = (
    *("batch_size", "num_epochs", "learning_rate", "hidden_size", "num_layers", "dropout"),
    *("patience", "seed", "bidirectional"),
)

_SOURCES = (  # what a run that goes on has already
    *("split_index", "output_dir", "recipe", "init", "teacher_model", "dataset", "all_clips"),
    *("folds", "esc10", "allow_incomplete"),
)


def add_arguments(parser: argparse.ArgumentParser, *, dataset: bool = True) -> None:
    """Add the flags of training; the documented ones keep their names and defaults.

    Args:
        parser: where to add them.
        dataset: also take a dataset in place of split files.
    """
    if dataset:
        parser.add_argument(
            "dataset", nargs="?", help=f"{DATASETS}; without it, the split files are used"
        )
    parser.add_argument(
        "--split_index", type=int, metavar="INT", help="split, or fold to test on, from 0 on (0)"
    )
    parser.add_argument("--output_dir", metavar="DIR", help="folder of the runs (models)")
    parser.add_argument(
        "--recipe", metavar="NAME", help="named recipe, or a .toml file (documented)"
    )
    add_settings(parser, _DOCUMENTED)
    add_cuda(parser)
    add_splits_dir(parser)
    add_precision(parser)
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run, with its own settings"
    )
    parser.add_argument(
        "--init",
        metavar="MODEL",
        help="start from the weights of this model directory, or of the bundled model "
        "(the word bundled), with a new last layer",
    )
    parser.add_argument(
        "--teacher_model",
        nargs="+",
        metavar="RUN",
        help="runs on the same split whose models teach together, for a recipe with --teacher "
        "above 0",
    )
    if dataset:
        parser.add_argument(
            "--all_clips",
            action="store_true",
            help="train on every fold; nothing is tested, but clips are still held out to choose "
            "the epoch, unless the recipe has refit",
        )
        add_dataset_flags(parser)
    add_other_settings(parser, _DOCUMENTED)
    parser.epilog = (
        "Writes OUTPUT_DIR/lstm-HIDDEN-LAYERS-UNIXTIME/ with the model, its history and curves,\n"
        "and the results on the test part, which is scored once, at the end.\n\n"
        "examples:\n"
        "  python lstm_classifier_train.py --split_index 0\n"
        "  python lstm_classifier_train.py --hidden_size 64 --num_epochs 20 --seed 1\n"
        "  python lstm_classifier_train.py --resume models/lstm-128-2-1767225600\n"
        + (
            "  earmark train my_sounds/ --recipe causal\n"
            "  earmark train my_sounds/ --recipe causal --init bundled --learning_rate 0.001\n"
            if dataset
            else ""
        )
        + "  accelerate launch --num_processes 2 lstm_classifier_train.py --cuda       # two GPUs\n"
        "  accelerate launch --multi_gpu --num_processes 2 lstm_classifier_train.py  # two CPUs"
    )


def run(args: argparse.Namespace) -> int:
    """Train, or go on training, then score the test part once; return the exit code."""
    given = given_settings(args)
    if args.resume:
        return _resume(args, [*given, *_given(args, _SOURCES)])
    recipe = read_recipe(args.recipe or "documented")
    recipe = recipe.replace(given)
    start = None
    if args.init is not None:
        recipe, start = _started(recipe, given, args.init)
    index = args.split_index or 0
    dataset, all_clips = getattr(args, "dataset", None), getattr(args, "all_clips", False)
    of_datasets = ("all_clips", "folds", "esc10", "allow_incomplete")
    if dataset is None and (given_ones := _given(args, of_datasets)):
        raise RunError(f"--{given_ones[0]} needs a dataset; split files are taken as they are")
    if dataset is not None and args.splits_dir is not None:
        raise RunError("--splits_dir is for training without a dataset; leave out one of the two")
    if all_clips and args.split_index is not None:
        raise RunError("--all_clips tests on nothing; leave out --split_index")
    if dataset is not None and index < 0:
        raise SettingsError(f"--split_index must be at least 0, got {index}")
    source = {
        "dataset": str(Path(dataset).resolve()) if dataset not in (None, "synthetic") else dataset,
        "splits_dir": str(splits_folder(args.splits_dir, args.beside).resolve()),
        "split_index": -1 if all_clips else index,
        "folds": getattr(args, "folds", None),
        "esc10": getattr(args, "esc10", False),
        "allow_incomplete": getattr(args, "allow_incomplete", False),
        "front_end": dataclasses.asdict(recipe.front_end),
        "recipe": recipe.name,
        "init": args.init if args.init in (None, "bundled") else str(Path(args.init).resolve()),
        "teachers": [str(Path(run).resolve()) for run in args.teacher_model or ()],
    }
    refuse_unwritable(_runs_folder(args) / ".run")
    if dataset is not None:
        recipe.check_fit()
    split = _split(source)
    if start and split.front_end != recipe.front_end:
        raise RunError(
            f"--init {args.init}: has another front end than the split files; "
            "give the dataset itself: earmark train DATASET --init ..."
        )
    if args.recipe and split.front_end not in (None, recipe.front_end):
        raise RunError(
            f"--recipe {args.recipe}: was made with another front end than the split files were "
            f"prepared with; make them with: earmark prepare DATASET --recipe {args.recipe}"
        )
    accelerator = accelerator_for(args.cuda, args.precision)
    source["precision"] = str(accelerator.mixed_precision)
    if start and accelerator.is_main_process:
        _warn_of_what_it_heard(args.init, start, split)
    folder = _new_run(args, recipe.training, accelerator)
    return _train(folder, split, recipe.training, accelerator, source, start)


def _given(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    values = {name: getattr(args, name, None) for name in names}
    return [name for name, value in values.items() if value is not None and value is not False]


def _resume(args: argparse.Namespace, given: list[str]) -> int:
    if given:
        flags = [name if name == "dataset" else f"--{name}" for name in given]
        raise RunError(
            f"--resume goes on with the run's own settings; leave out {', '.join(flags)}"
        )
    from earmark.training.run import resumable

    folder = Path(args.resume)
    settings, source = resumable(folder)
    if args.splits_dir is not None:
        if source.get("dataset") is not None:
            raise RunError(f"{folder}: was started on a dataset; leave out --splits_dir")
        source["splits_dir"] = str(Path(args.splits_dir).resolve())
    try:
        split = _split(source)
        start = None if source["init"] is None else _initial(str(source["init"]))
    except KeyError as error:
        raise RunError(
            f"{folder}: its checkpoint is not usable (it lacks {error}); start a new run"
        ) from None
    accelerator = accelerator_for(args.cuda, args.precision or source.get("precision"))
    source["precision"] = str(accelerator.mixed_precision)
    return _train(folder, split, settings, accelerator, source, start)


def _initial(name: str) -> TrainedModel:
    from earmark.model_directory import load_model, model_folder

    return load_model(model_folder(None if name == "bundled" else name))


def _started(recipe: Recipe, given: dict[str, Any], name: str) -> tuple[Recipe, TrainedModel]:
    """Return the recipe with the front end and the shape of the model to start from."""
    start = _initial(name)
    if start.front_end is None:
        raise RunError(f"--init {name}: was trained on ready-made features and hears no audio")
    if wrong := [name for name in NETWORK_NAMES if name in given and name != "dropout"]:
        raise SettingsError(
            f"--init takes the shape of {name}; leave out {', '.join('--' + n for n in wrong)}"
        )
    network = dataclasses.replace(
        start.model.settings.network, dropout=recipe.training.network.dropout
    )
    training = dataclasses.replace(recipe.training, network=network)
    return Recipe(recipe.name, start.front_end, training), start


def _warn_of_what_it_heard(name: str, start: TrainedModel, split: Split) -> None:
    """Say so when clips to be held out for validation may not be new to the model to start from.

    Whether those of the test are is said with the results.
    """
    from earmark.evaluation.report import has_learnt

    if has_learnt(start.data, split.dataset):
        print(
            f"--init {name}: has learnt from {split.dataset} too, so clips held out for validation "
            "may not be new to it; then the epoch they choose and the scores they calibrate are "
            "too hopeful",
            file=sys.stderr,
        )


def _split(source: dict[str, Any]) -> Split:
    """Read the split file, or hear the dataset, that a run was started on."""
    index = int(source["split_index"])
    if source["dataset"] is None:
        from earmark.data.splits import read_split

        return read_split(Path(source["splits_dir"]), index)
    reading = argparse.Namespace(
        **{name: source[name] for name in ("folds", "esc10", "allow_incomplete")}
    )
    front_end = from_json(FrontEndSettings, source["front_end"])
    heard = hear(source["dataset"], reading, front_end, 0, tested=index >= 0)
    refuse_failures(heard, reading, "nothing was trained")
    if index < 0:
        return heard.whole()
    if index >= len(heard.fold_names):
        raise SettingsError(
            f"{source['dataset']}: has {len(heard.fold_names)} folds; "
            f"--split_index may be 0 to {len(heard.fold_names) - 1}"
        )
    return heard.split(index)


def _train(
    folder: Path,
    split: Split,
    settings: TrainingSettings,
    accelerator: accelerate.Accelerator,
    source: dict[str, Any],
    start: TrainedModel | None,
) -> int:
    """Train into a folder, test once, and end all processes together."""
    from earmark.training.run import fit

    try:
        trained = fit(
            *(split, settings, accelerator, folder),
            source=source,
            start=start,
            teachers=[Path(run) for run in source["teachers"]],
        )
        if accelerator.is_main_process:
            _test_once(folder, trained, split, accelerator.device.type)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_left_behind(folder)) from None
    finally:
        if accelerator.is_main_process and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    # Left by all at once: a process that left early, or reached its exit with the group's threads
    # alive, now and then aborted.
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if accelerator.num_processes > 1:
        # Everything is written and closed. An ordinary exit would now tear down the threads of
        # torch's process group in any order, and now and then abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _runs_folder(args: argparse.Namespace) -> Path:
    return Path(args.output_dir or "models")


def _new_run(
    args: argparse.Namespace, settings: TrainingSettings, accelerator: accelerate.Accelerator
) -> Path:
    """Make `OUTPUT_DIR/lstm-HIDDEN-LAYERS-UNIXTIME`, the same for all processes."""
    from accelerate.utils import broadcast_object_list

    folder, fault = Path(), None
    if accelerator.is_main_process:
        second = int(time.time())
        while True:
            name = f"lstm-{settings.network.hidden_size}-{settings.network.num_layers}-{second}"
            folder = _runs_folder(args) / name
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
    from earmark.evaluation.report import summary, write_results
    from earmark.training.run import end, tested

    training = trained.training
    kept = f"{training['epochs']} epochs, {training['stopped']}; kept epoch {training['epoch']}"
    if training["validation_accuracy"] is not None:
        kept += f": validation accuracy {100 * training['validation_accuracy']:.1f} %"
    print(kept)
    if len(split.test):
        results = tested(folder, split, device)
        write_results(folder / "results.json", results)
        print(summary(results))
    end(folder)
    print(f"wrote {folder}")


def _left_behind(folder: Path) -> str:
    """Say what an interrupted run leaves and how to go on."""
    from earmark.training.checkpoint import has_checkpoint
    from earmark.training.run import VALIDATED

    if not has_checkpoint(folder) and not has_checkpoint(folder / VALIDATED):
        return " before the first epoch ended; start again"
    model = folder if (folder / "model.json").is_file() else folder / VALIDATED
    return f"; the best model so far stays in {model}; go on with --resume {folder}"
