"""`earmark crossval`: every fold of a dataset, with a table."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from earmark.commands.datasets import (
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
    given_settings,
)
from earmark.commands.recipes import OWN_SOUNDS, add_recipe, chosen_recipe, load_start
from earmark.config import TrainingSettings
from earmark.errors import RunError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `crossval`."""
    parser.allow_abbrev = False  # --seed 3 is not --seeds 3
    parser.add_argument("dataset", help=DATASETS)
    add_recipe(parser, OWN_SOUNDS)
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="INT", help="runs of each fold, seeds 0, 1, ... (1)"
    )
    parser.add_argument(
        "--out",
        default="docs/results",
        metavar="DIR",
        help="folder of the table and its pictures (%(default)s)",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="name of the files in it (the recipe and what was changed)"
    )
    parser.add_argument(
        "--runs", metavar="DIR", help="folder of the single runs (models/crossval-NAME)"
    )
    parser.add_argument(
        "--leave_out",
        action="store_true",
        help="also train with classes left out in turn, and see whether they are recognised as "
        "unknown",
    )
    parser.add_argument(
        "--teachers",
        metavar="DIR",
        help="folder of the runs of another crossval of the same dataset and front end; all its "
        "models of a fold teach that fold together",
    )
    add_cuda(parser)
    add_precision(parser)
    add_cache_dir(parser)
    add_dataset_flags(parser)
    add_other_settings(parser, ["seed"])
    parser.epilog = (
        "Finished folds are kept: the same command goes on after a kill. A fold that fails stops\n"
        "the whole, with its reason.\n\n"
        "examples:\n"
        "  earmark crossval ESC-10/ --recipe causal --seeds 3\n"
        "  earmark crossval my_sounds/ --out results\n"
        "  earmark crossval my_sounds/ --recipe fast --folds 4 --out results\n"
        "  earmark crossval ESC-10/ --recipe lstm --pooling mean      # what does one change do?"
    )


def run(args: argparse.Namespace) -> int:
    """Train and test every fold, write the table; return the exit code."""
    from earmark.data.cache.store import FeatureCache
    from earmark.data.prepare import extract_features, refuse_failures
    from earmark.evaluation.baselines import measure_folds
    from earmark.evaluation.crossval_report import (
        baseline_lines,
        headline,
        league_lines,
        leak_line,
        refuse_results_of_other_data,
        summarise,
        table,
        write_summary,
    )
    from earmark.io.files import refuse_unwritable
    from earmark.training.crossval import (
        cross_validate,
        leave_classes_out,
        refuse_unvalidated,
        select_left_out,
    )
    from earmark.training.crossval_record import RECORD, open_runs

    if args.seeds < 1:
        raise RunError(f"--seeds must be at least 1, got {args.seeds}")
    given, request = given_settings(args), dataset_request(args)
    recipe, start = load_start(chosen_recipe(args, request, given), given)
    recipe.check_fit()
    changed = {**({} if args.init is None else {"init": Path(args.init).name}), **given}
    name = args.name or "+".join([recipe.name, *(f"{k}={v}" for k, v in changed.items())])
    name = "".join(c if c.isalnum() or c in "-_.+=" else "_" for c in name)
    out = Path(args.out)
    refuse_unwritable(out / f"{name}-reliability.png")  # the longest name of its files
    runs = Path(args.runs or f"models/crossval-{name}")
    refuse_unwritable(runs / RECORD)
    if args.leave_out and recipe.training.teacher:
        raise RunError("a teacher knows every class; use --teacher 0 with --leave_out")
    reporter = terminal_reporter()
    cache = FeatureCache(args.cache_dir)
    dataset = extract_features(request, recipe.front_end, reporter=reporter, cache=cache)
    if dataset.left_out:
        reporter.remark(dataset.left_out)
    refuse_failures(dataset, request, "nothing was trained")
    if not recipe.training.frozen:
        refuse_unvalidated(dataset)
    if args.leave_out:
        select_left_out(dataset)  # refused now, not after hours of folds
    refuse_results_of_other_data(out / f"{name}.json", dataset.fingerprint)
    accelerator = accelerator_for(args.cuda, args.precision)
    if accelerator.num_processes > 1:
        raise RunError("crossval trains one run at a time; start it without accelerate launch")
    teachers = Path(args.teachers) if args.teachers else None
    precision = str(accelerator.mixed_precision)
    open_runs(runs, dataset, recipe, start=start, teachers=teachers, precision=precision)

    def tell(line: str) -> None:
        print(line, flush=True)

    tell(
        f"{dataset.name}: {len(dataset.clips)} clips, {len(dataset.classes)} classes, "
        f"{len(dataset.fold_names)} folds, {args.seeds} seed(s); runs in {runs}"
    )
    try:
        rows = cross_validate(
            dataset,
            recipe,
            range(args.seeds),
            runs,
            accelerator,
            tell,
            start=start,
            teachers=teachers,
            cache=cache,
        )
        unknown = []
        if args.leave_out:
            unknown = leave_classes_out(
                dataset, recipe, runs, accelerator, tell, start=start, cache=cache
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("; the same command goes on from here") from None
    command = shlex.join(["earmark", *sys.argv[1:]]) if sys.argv[1:] else ""
    baselines = measure_folds([dataset.split(fold) for fold in range(len(dataset.fold_names))])
    summary = summarise(rows, unknown, name=name, command=command, baselines=baselines)
    paths = write_summary(out, name, summary, _describe_choice(recipe.training))
    said = [headline(summary), *table(summary), leak_line(summary), *baseline_lines(summary)]
    said += league_lines(summary)
    print("\n".join(filter(None, said)))
    print(f"wrote {paths[1]}, and beside it {', '.join(p.name for p in (paths[0], *paths[2:]))}")
    return 0


def _describe_choice(settings: TrainingSettings) -> str:
    if settings.frozen:
        return (
            "Only the last layer was trained, on all clips of the training folds. Clips of these "
            "that were held out in turn, by source recording, give temperature and thresholds."
        )
    held = "Validation clips are held out of the training folds by source recording"
    if settings.refit:
        return (
            f"{held} in a first run of each fold, which gives temperature and thresholds; the "
            "models that are tested were then trained on all clips of the training folds, for the "
            "recipe's number of epochs."
        )
    return f"{held}; they choose the epoch, and give temperature and thresholds."
