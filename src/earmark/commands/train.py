"""`earmark train` and `lstm_classifier_train.py`: train a model, test it once."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark import bundled
from earmark.commands.datasets import (
    DATASET_FLAGS,
    DATASETS,
    add_dataset_flags,
    dataset_request,
    terminal_reporter,
)
from earmark.commands.flags import (
    accelerator_for,
    add_cache_dir,
    add_cuda,
    add_other_settings,
    add_precision,
    add_settings,
    add_splits_dir,
    given_settings,
    splits_folder,
)
from earmark.commands.recipes import OWN_SOUNDS, add_recipe, chosen_recipe, load_start
from earmark.config import TrainingSettings
from earmark.config.recipes import Recipe
from earmark.errors import RunError, SettingsError
from earmark.io.files import refuse_unwritable

if TYPE_CHECKING:
    import accelerate

    from earmark.data.prepare import DatasetRequest
    from earmark.data.splits import Split
    from earmark.model_directory import TrainedModel
    from earmark.training.frozen import FrozenNetwork
    from earmark.training.request import TrainingRequest

_DOCUMENTED = (
    "batch_size",
    "num_epochs",
    "learning_rate",
    "hidden_size",
    "num_layers",
    "dropout",
    "patience",
    "seed",
    "bidirectional",
)
_FEW_ACCEPTED = 0.5  # of the clips of the classes; then something is wrong with the negatives
_OF_DATASETS = ("all_clips", *DATASET_FLAGS)
# What a run that goes on has already.
_SOURCES = (
    "split_index",
    "output_dir",
    "recipe",
    "init",
    "teacher_model",
    "dataset",
    *_OF_DATASETS,
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
    choice = f"documented; for a dataset {OWN_SOUNDS}" if dataset else "documented"
    add_recipe(parser, choice)
    add_settings(parser, _DOCUMENTED)
    add_cuda(parser)
    add_splits_dir(parser)
    add_cache_dir(parser)
    add_precision(parser)
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run, with its own settings"
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
            "  earmark train my_sounds/ --all_clips                # own sounds, in a minute\n"
            "  earmark train my_sounds/ --recipe causal\n"
            "  earmark train my_sounds/ --recipe causal --init base --learning_rate 0.001\n"
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
    dataset = _dataset(args)
    recipe = chosen_recipe(args, dataset, given)
    recipe, start = load_start(recipe, given)
    request = _request(args, recipe, dataset)
    refuse_unwritable(_runs_folder(args) / ".run")
    if request.dataset is not None:
        recipe.check_fit()
    split = _load_split(request, args.cache_dir)
    _refuse_other_front_end(args, recipe, split, start)
    accelerator = accelerator_for(args.cuda, args.precision)
    request = dataclasses.replace(request, precision=str(accelerator.mixed_precision))
    if start and accelerator.is_main_process:
        _warn_of_earlier_training(recipe.init, start, split)
    folder = _make_run_folder(args, recipe.training, accelerator)
    network = _freeze(start, recipe.training, accelerator, args.cache_dir)
    return _train(folder, split, recipe.training, accelerator, request, start, network)


def _dataset(args: argparse.Namespace) -> DatasetRequest | None:
    """Return the dataset that the flags ask for; None where split files are trained on.

    Raises:
        RunError: flags contradict each other.
        SettingsError: a value is out of range.
    """
    index, all_clips = args.split_index or 0, getattr(args, "all_clips", False)
    dataset: DatasetRequest | None = None
    if getattr(args, "dataset", None) is None:
        if given := _given(args, _OF_DATASETS):
            raise RunError(f"--{given[0]} needs a dataset; split files are taken as they are")
    else:
        if args.splits_dir is not None:
            raise RunError(
                "--splits_dir is for training without a dataset; leave out one of the two"
            )
        if all_clips and args.split_index is not None:
            raise RunError("--all_clips tests on nothing; leave out --split_index")
        if index < 0:
            raise SettingsError(f"--split_index must be at least 0, got {index}")
        dataset = dataset_request(args)
        if dataset.path != "synthetic":  # a run may go on from another folder
            dataset = dataclasses.replace(dataset, path=str(Path(dataset.path).resolve()))
        elsewhere = tuple(str(Path(path).resolve()) for path in dataset.negatives)
        dataset = dataclasses.replace(dataset, negatives=elsewhere)
    return dataset


def _request(
    args: argparse.Namespace, recipe: Recipe, dataset: DatasetRequest | None
) -> TrainingRequest:
    """Return what the flags ask for."""
    from earmark.training.request import TrainingRequest

    init = recipe.init or None
    if init is not None:
        init = bundled.name_of(init) or str(Path(init).resolve())
    return TrainingRequest(
        dataset=dataset,
        splits_dir=str(splits_folder(args.splits_dir, args.beside).resolve()),
        split_index=-1 if getattr(args, "all_clips", False) else args.split_index or 0,
        front_end=recipe.front_end,
        recipe=recipe.name,
        init=init,
        teachers=tuple(str(Path(run).resolve()) for run in args.teacher_model or ()),
    )


def _load_split(request: TrainingRequest, cache_dir: str | None) -> Split:
    from earmark.data.cache.store import FeatureCache
    from earmark.training.request import load_split

    return load_split(request, terminal_reporter(), cache=FeatureCache(cache_dir))


def _freeze(
    start: TrainedModel | None,
    settings: TrainingSettings,
    accelerator: accelerate.Accelerator,
    cache_dir: str | None,
) -> FrozenNetwork | None:
    """Return the model to start from as a frozen network, if it is to be one."""
    from earmark.data.cache.store import FeatureCache
    from earmark.training.frozen import freeze

    return freeze(start, settings, accelerator, FeatureCache(cache_dir))


def _refuse_other_front_end(
    args: argparse.Namespace, recipe: Recipe, split: Split, start: TrainedModel | None
) -> None:
    """Refuse split files that were prepared with another front end than is asked for."""
    if start and split.front_end != recipe.front_end:
        raise RunError(
            f"--init {recipe.init}: has another front end than the split files; "
            "give the dataset itself: earmark train DATASET --init ..."
        )
    if args.recipe and split.front_end not in (None, recipe.front_end):
        raise RunError(
            f"--recipe {args.recipe}: was made with another front end than the split files were "
            f"prepared with; make them with: earmark prepare DATASET --recipe {args.recipe}"
        )


def _given(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Return those of the flags that were given."""
    values = {name: getattr(args, name, None) for name in names}
    return [name for name, value in values.items() if value is not None and value is not False]


def _resume(args: argparse.Namespace, given: list[str]) -> int:
    if given:
        flags = [name if name == "dataset" else f"--{name}" for name in given]
        raise RunError(
            f"--resume goes on with the run's own settings; leave out {', '.join(flags)}"
        )
    from earmark.model_directory import load_model, model_folder
    from earmark.training.run import read_resumable

    folder = Path(args.resume)
    settings, request = read_resumable(folder)
    if request is None:
        raise RunError(
            f"{folder}: was not started by train; the command that started it goes on with it"
        )
    if args.splits_dir is not None:
        if request.dataset is not None:
            raise RunError(f"{folder}: was started on a dataset; leave out --splits_dir")
        request = dataclasses.replace(request, splits_dir=str(Path(args.splits_dir).resolve()))
    split = _load_split(request, args.cache_dir)
    start = None if request.init is None else load_model(model_folder(request.init))
    accelerator = accelerator_for(args.cuda, args.precision or request.precision)
    request = dataclasses.replace(request, precision=str(accelerator.mixed_precision))
    network = _freeze(start, settings, accelerator, args.cache_dir)
    return _train(folder, split, settings, accelerator, request, start, network)


def _warn_of_earlier_training(name: str, start: TrainedModel, split: Split) -> None:
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


def _train(
    folder: Path,
    split: Split,
    settings: TrainingSettings,
    accelerator: accelerate.Accelerator,
    request: TrainingRequest,
    start: TrainedModel | None,
    network: FrozenNetwork | None,
) -> int:
    """Train into a folder, test once, and end all processes together."""
    from earmark.training.run import train_model

    try:
        trained = train_model(
            split,
            settings,
            accelerator,
            folder,
            request=request,
            start=start,
            network=network,
            teachers=[Path(run) for run in request.teachers],
        )
        if accelerator.is_main_process:
            _test_once(folder, trained, split, accelerator.device.type)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_describe_rest(folder)) from None
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


def _make_run_folder(
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


def _show_held_out(trained: TrainedModel, split: Split) -> None:
    """Print what clips held out in turn say of a last layer on a frozen network."""
    from earmark.evaluation.baselines import describe_baselines
    from earmark.evaluation.report import format_classes
    from earmark.training.frozen import HELD_OUT

    found = trained.training[HELD_OUT]
    if found is None:
        print(
            "a class has clips of one source recording only, so none were held out: scores are "
            "not calibrated, and nothing says how good they are\n"
            "rejection is weak then: other sounds are often taken for a class; add recordings of "
            "other sources"
        )
        return
    print(
        f"cross-validated within the training clips, {found['folds']} folds: "
        f"accuracy {100 * found['accuracy']:.1f} %; {100 * found['coverage']:.1f} % of the clips "
        "are accepted rather than none of these"
    )
    if found["coverage"] < _FEW_ACCEPTED and trained.data["training_negatives"]:
        print(
            "the negatives are so like the classes that most clips of these are rejected too; look "
            "whether negatives hold sounds of the classes, and remove those",
            file=sys.stderr,
        )
    if not len(split.test):
        lines = describe_baselines(found["accuracy"], found["baselines"])
        print("\n".join([*format_classes(found["per_class"]), *lines]))


def _test_once(folder: Path, trained: TrainedModel, split: Split, device: str) -> None:
    """Score the test part with the finished model, write the results, end the run."""
    from earmark.evaluation.baselines import describe_baselines, measure_baselines
    from earmark.evaluation.league import describe_league, find_league
    from earmark.evaluation.report import summary, write_results
    from earmark.training.run import remove_checkpoints, score_test_part

    training = trained.training
    if training["recipe"]["frozen"]:
        _show_held_out(trained, split)
    else:
        print(_describe_epoch(training))
    if len(split.test):
        results = score_test_part(folder, split, device)
        results["baselines"] = measure_baselines(split)
        write_results(folder / "results.json", results)
        lines = describe_baselines(results["accuracy"], results["baselines"])
        print("\n".join([summary(results), *lines]))
    else:
        print("\n".join(describe_league(find_league(trained.data, split.train.paths))))
    remove_checkpoints(folder)
    print(f"wrote {folder}")


def _describe_epoch(training: Mapping[str, Any]) -> str:
    """Say in one line which epoch was kept."""
    kept = f"{training['epochs']} epochs, {training['stopped']}; kept epoch {training['epoch']}"
    if training["validation_accuracy"] is not None:
        kept += f": validation accuracy {100 * training['validation_accuracy']:.1f} %"
    return kept


def _describe_rest(folder: Path) -> str:
    """Say what an interrupted run leaves and how to go on."""
    from earmark.training.checkpoint import has_checkpoint
    from earmark.training.run import VALIDATED

    if not has_checkpoint(folder) and not has_checkpoint(folder / VALIDATED):
        return " before there was a model to keep; start again"
    model = folder if (folder / "model.json").is_file() else folder / VALIDATED
    return f"; the best model so far stays in {model}; go on with --resume {folder}"
