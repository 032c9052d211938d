"""The command `earmark` and the two documented scripts. Top layer: parses, calls, prints.

Heavy modules are imported by the commands that need them, so that `--help` and `--version` answer
at once. Every fault of the input ends as one line on stderr and a non-zero exit.
"""

from __future__ import annotations

import argparse
import csv
import glob
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from earmark import __version__
from earmark.errors import EarmarkError, RunError
from earmark.settings import TrainingSettings

if TYPE_CHECKING:
    import accelerate

    from earmark.inference.recognizer import Prediction, Recognizer
    from earmark.training.state import ResumeState

_DEFAULTS = TrainingSettings()
_INTERRUPTED = 130  # what a shell reports for Ctrl-C


def main(argv: Sequence[str] | None = None) -> int:
    """Run `earmark` with the given arguments and return its exit code."""
    parser = _Parser(
        prog="earmark",
        description="Name environmental sounds with a unidirectional LSTM over mel frames.",
        epilog="examples:\n"
        "  earmark prepare synthetic            # built-in sounds, no data needed\n"
        "  earmark prepare path/to/ESC-10\n"
        "  earmark train --split_index 0\n"
        "  earmark evaluate --model_dir models/lstm-128-2-1767225600 --output_file results.json\n"
        "  earmark predict --model_dir models/lstm-128-2-1767225600 recordings/\n\n"
        "earmark COMMAND --help tells more about each command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"earmark {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for name, add, run, text in (
        ("prepare", _add_prepare, _prepare, "turn a dataset into split files"),
        ("train", _add_train, _train, "train a model on one split"),
        ("evaluate", _add_evaluate, _evaluate, "score a model on a split, or one audio file"),
        ("predict", _add_predict, _predict, "name the sounds in files, folders and globs"),
    ):
        command = commands.add_parser(
            name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.description = text[0].upper() + text[1:] + "."
        add(command)
        command.set_defaults(run=run, beside=None)
    return _guarded(parser, argv)


def train_main(argv: Sequence[str] | None = None, *, beside: Path | None = None) -> int:
    """Run `lstm_classifier_train.py`; `splits/` is also looked for in the folder `beside`."""
    parser = _Parser(
        prog="lstm_classifier_train.py",
        description="Train the LSTM classifier on one split.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_train(parser)
    parser.set_defaults(run=_train, beside=beside)
    return _guarded(parser, argv)


def inference_main(argv: Sequence[str] | None = None, *, beside: Path | None = None) -> int:
    """Run `lstm_inference.py`; `splits/` is also looked for in the folder `beside`."""
    parser = _Parser(
        prog="lstm_inference.py",
        description="Evaluate a trained model on a split, or predict one audio file.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_evaluate(parser)
    parser.set_defaults(run=_evaluate, beside=beside)
    return _guarded(parser, argv)


class _Parser(argparse.ArgumentParser):
    """Accepts hyphens for the underscores in flags, and reports a wrong flag in one line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        for place, word in enumerate(words):
            if word == "--":
                break
            if word.startswith("--"):
                flag, equals, value = word.partition("=")
                words[place] = "--" + flag[2:].replace("-", "_") + equals + value
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _guarded(parser: _Parser, argv: Sequence[str] | None) -> int:
    """Parse, run, and turn every expected fault into one line and an exit code."""
    args = parser.parse_args(argv)
    try:
        return int(args.run(args))
    except EarmarkError as error:
        message = str(error)
    except BrokenPipeError:  # the reader of our output went away; nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message = (
            f"{where}{(error.strerror or str(error)).lower()}; free space or choose another place"
        )
    except KeyboardInterrupt as interrupt:
        print(f"{parser.prog}: interrupted{interrupt}", file=sys.stderr)
        return _INTERRUPTED
    print(f"{parser.prog}: error: {' '.join(message.split())}", file=sys.stderr)
    return 1


# --- prepare ------------------------------------------------------------------------------------


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset",
        help="folder of ESC-10, ESC-50, UrbanSound8K or one folder per class; a table "
        "path,label[,fold][,group]; or the word synthetic for the built-in sounds",
    )
    parser.add_argument("--out", default="splits", help="folder of the split files (%(default)s)")
    parser.add_argument(
        "--folds", type=int, default=5, help="folds to make where there are none (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of made folds and sounds")
    parser.add_argument("--esc10", action="store_true", help="of ESC-50, only the ESC-10 classes")
    parser.add_argument(
        "--allow_unreadable", action="store_true", help="exit with 0 though files were left out"
    )
    parser.epilog = (
        "examples:\n  earmark prepare synthetic\n  earmark prepare ESC-50/ --esc10\n"
        "  earmark prepare my_sounds/ --folds 4 --out my_splits"
    )


def _prepare(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from earmark.data import synthetic
    from earmark.data.prepare import hear_dataset, report, write_splits
    from earmark.data.readers import SYNTHETIC, read_dataset
    from earmark.errors import SettingsError
    from earmark.settings import FrontEndSettings

    if args.folds < 2:
        raise SettingsError(f"--folds must be at least 2, got {args.folds}")
    if args.seed < 0:
        raise SettingsError(f"--seed must be at least 0, got {args.seed}")
    if args.dataset == "synthetic":
        print(f"generating the built-in synthetic sounds in {SYNTHETIC}/", flush=True)
        dataset = synthetic.write_dataset(Path(SYNTHETIC), seed=args.seed)
    else:
        dataset = read_dataset(Path(args.dataset), esc10_only=args.esc10)

    def bar(results: Iterable[object]) -> Iterable[object]:
        total = len(dataset.clips)
        return tqdm(results, total=total, unit="clip", desc="reading", disable=None)

    prepared = hear_dataset(
        dataset, FrontEndSettings(), folds=args.folds, seed=args.seed, progress=bar
    )
    paths = write_splits(prepared, Path(args.out))
    print(report(prepared))
    for failure in prepared.failures:
        print(f"unreadable: {failure}", file=sys.stderr)
    print(f"wrote {paths[0]} to {paths[-1].name}")
    if prepared.failures and not args.allow_unreadable:
        raise EarmarkError(
            f"{len(prepared.failures)} of {len(dataset.clips)} files were left out; the splits "
            "hold the others; mend the files, or accept this with --allow_unreadable"
        )
    return 0


# --- train --------------------------------------------------------------------------------------


def _add_train(parser: argparse.ArgumentParser) -> None:
    def setting(name: str, kind: type, text: str) -> None:
        default = getattr(_DEFAULTS, name)
        parser.add_argument(
            f"--{name}", type=kind, metavar=kind.__name__.upper(), help=f"{text} ({default})"
        )

    parser.add_argument(
        "--split_index", type=int, default=None, metavar="INT", help="split to train on, 0-4 (0)"
    )
    parser.add_argument(
        "--output_dir", default="models", metavar="DIR", help="folder of the runs (%(default)s)"
    )
    setting("batch_size", int, "clips in one step, over all processes")
    setting("num_epochs", int, "most epochs")
    setting("learning_rate", float, "highest learning rate")
    setting("hidden_size", int, "units of each LSTM layer")
    setting("num_layers", int, "LSTM layers")
    setting("dropout", float, "share of units dropped while training")
    setting("patience", int, "epochs without a better validation score before stopping")
    _add_cuda(parser)
    _add_splits_dir(parser)
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
        "  accelerate launch --num_processes 2 lstm_classifier_train.py --cuda"
    )


def _add_cuda(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cuda", action="store_true", help="use CUDA if it is available, else say so and go on"
    )


def _add_splits_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--splits_dir",
        metavar="DIR",
        help="folder of the split files (splits here, else beside the script)",
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


def _train(args: argparse.Namespace) -> int:
    settings, given = _recipe(args)
    if args.resume and (given or args.split_index is not None):
        flags = [f"--{name}" for name in given] or ["--split_index"]
        raise RunError(
            f"--resume goes on with the run's own settings; leave out {', '.join(flags)}"
        )
    from earmark.data.splits import find_folder, read_split
    from earmark.training.loop import Run, refuse_other_data, resumable

    state: ResumeState | None = None
    source: dict[str, Any] = {}
    splits_dir, index = find_folder(args.splits_dir, args.beside), args.split_index or 0
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
    run = Run(split, settings, accelerator, source=source)
    if state:
        refuse_other_data(state, split, Path(args.resume))
        run.resume(state)
        accelerator.print(f"going on after epoch {run.progress.epochs_done}")
    accelerator.print(
        f"training on {split.dataset}, split {split.index}: {len(run.batches.labels)} clips, "
        f"{len(run.validation)} for validation, {len(split.test)} for the test; "
        f"device {accelerator.device.type}, {accelerator.num_processes} process(es)"
    )
    folder = Path(args.resume) if args.resume else _new_run(args, settings, accelerator)
    try:
        trained = run.train(folder)
        if accelerator.is_main_process:
            _test_once(folder, trained, split)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_left_behind(folder)) from None
    finally:
        if accelerator.is_main_process and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    accelerator.end_training()
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
            folder = Path(args.output_dir) / name
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                if not folder.is_dir():
                    fault = f"{args.output_dir}: is a file where a folder is needed"
                    break
                second += 1
            except OSError as error:
                fault = f"{folder}: cannot be made ({error.strerror}); use another --output_dir"
                break
    folder, fault = broadcast_object_list([folder, fault])
    if fault:
        raise RunError(fault)
    return folder


def _test_once(folder: Path, trained: Any, split: Any) -> None:
    """Score the test part with the finished model, write the results, end the run."""
    from earmark.artifact import load_model
    from earmark.evaluation.results import evaluate, summary, write_results
    from earmark.training.state import remove_state

    training = trained.training
    print(
        f"{training['epochs']} epochs, {training['stopped']}; kept epoch {training['epoch']}: "
        f"validation accuracy {100 * training['validation_accuracy']:.1f} %"
    )
    results = evaluate(load_model(folder), split, model_name=folder.name)
    write_results(folder / "results.json", results)
    remove_state(folder)
    print(summary(results))
    print(f"wrote {folder}")


def _left_behind(folder: Path) -> str:
    """Say what an interrupted run leaves and how to go on."""
    if not (folder / "model.json").is_file():
        return " before the first epoch ended; nothing was written"
    return f"; the best model so far stays in {folder}; go on with --resume {folder}"


# --- evaluate, predict --------------------------------------------------------------------------


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model_dir", required=True, metavar="DIR", help="a run of training")
    parser.add_argument("--audio_file", metavar="FILE", help="predict this file instead")
    parser.add_argument(
        "--split_index",
        type=int,
        default=0,
        metavar="INT",
        help="split to score, 0-4 (%(default)s)",
    )
    parser.add_argument("--output_file", metavar="FILE", help="write the results as JSON")
    parser.add_argument(
        "--batch_size", type=int, default=32, metavar="INT", help="clips at a time (%(default)s)"
    )
    _add_cuda(parser)
    _add_splits_dir(parser)
    parser.epilog = (
        "examples:\n"
        "  python lstm_inference.py --model_dir models/lstm-128-2-1767225600 --output_file r.json\n"
        "  python lstm_inference.py --model_dir models/lstm-128-2-1767225600 --audio_file dog.wav"
    )


def _device(cuda: bool) -> str:
    import torch

    if cuda and not torch.cuda.is_available():
        print("CUDA is not available; going on with the CPU", file=sys.stderr)
    return "cuda" if cuda and torch.cuda.is_available() else "cpu"


def _evaluate(args: argparse.Namespace) -> int:
    from earmark.artifact import load_model
    from earmark.data.splits import find_folder, read_split
    from earmark.errors import SettingsError
    from earmark.evaluation.results import evaluate, summary, write_results
    from earmark.files import write_json
    from earmark.inference.recognizer import Recognizer

    if args.batch_size < 1:
        raise SettingsError(f"batch_size must be at least 1, got {args.batch_size}")
    model_dir = Path(args.model_dir)
    if args.audio_file is not None:
        recognizer = Recognizer.load(model_dir, _device(args.cuda))
        prediction = recognizer.predict(args.audio_file)
        print(_ranking(prediction, recognizer))
        if args.output_file:
            write_json(Path(args.output_file), _prediction_json(prediction, recognizer, model_dir))
        return 0
    trained = load_model(model_dir)
    split = read_split(find_folder(args.splits_dir, args.beside), args.split_index)
    trained.model.to(_device(args.cuda))
    results = evaluate(trained, split, batch_size=args.batch_size, model_name=model_dir.name)
    print(summary(results))
    if args.output_file:
        picture = write_results(Path(args.output_file), results)
        print(f"wrote {args.output_file} and {picture}")
    return 0


def _ranking(prediction: Prediction, recognizer: Recognizer, top: int = 5) -> str:
    """Lay out the most likely classes of one clip with their scores as bars."""
    width = max(len(name) for name in prediction.scores)
    lines = [f"{prediction.path} ({prediction.seconds:.2f} s): {prediction.label}"]
    for name, score in list(prediction.scores.items())[:top]:
        lines.append(f"  {name:<{width}}  {score:6.3f}  {'#' * round(30 * score)}")
    return "\n".join([*lines, *_synthetic_note(recognizer)])


def _synthetic_note(recognizer: Recognizer) -> list[str]:
    if not recognizer.trained.data.get("synthetic"):
        return []
    return ["This model was trained on synthetic sounds; do not trust it on real ones."]


def _prediction_json(
    prediction: Prediction, recognizer: Recognizer, model_dir: Path
) -> dict[str, Any]:
    return {**prediction.to_json(), "model": _model_json(recognizer, model_dir)}


def _model_json(recognizer: Recognizer, model_dir: Path) -> dict[str, Any]:
    trained = recognizer.trained
    return {
        "name": model_dir.name,
        "fingerprint": trained.fingerprint,
        "trained_on": trained.data.get("dataset"),
        "synthetic": trained.data.get("synthetic"),
    }


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", help="audio files, folders of them, or globs")
    parser.add_argument("--model_dir", required=True, metavar="DIR", help="a run of training")
    parser.add_argument(
        "--format", choices=("table", "json", "csv"), default="table", help="(%(default)s)"
    )
    parser.add_argument(
        "--top", type=int, default=3, metavar="INT", help="classes in a table (%(default)s)"
    )
    parser.add_argument("--output_file", metavar="FILE", help="write there, not to the terminal")
    _add_cuda(parser)
    parser.epilog = (
        "A file that cannot be read is named on stderr; the others are finished, and the exit\n"
        "code is then 1.\n\n"
        "examples:\n"
        "  earmark predict --model_dir models/lstm-128-2-1767225600 dog.wav\n"
        "  earmark predict --model_dir models/lstm-128-2-1767225600 recordings/ --format csv"
    )


def _predict(args: argparse.Namespace) -> int:
    from earmark.errors import AudioError, SettingsError
    from earmark.files import write_text
    from earmark.inference.recognizer import Recognizer

    if args.top < 1:
        raise SettingsError(f"--top must be at least 1, got {args.top}")
    paths = _audio_paths(args.files)
    model_dir = Path(args.model_dir)
    recognizer = Recognizer.load(model_dir, _device(args.cuda))
    text: list[str] = []
    emit: Callable[[str], object] = text.append if args.output_file else _print_line
    writer = _Writer(args.format, emit, recognizer, model_dir, args.top)
    failures: list[str] = []
    try:
        for path in paths:
            try:
                writer.add(recognizer.predict(path))
            except AudioError as error:
                failures.append(str(error))
                print(f"unreadable: {error}", file=sys.stderr)
    finally:  # interrupted or not, what is finished is handed over
        writer.close(failures)
        if args.output_file:
            write_text(Path(args.output_file), "".join(line + "\n" for line in text))
    if failures:
        raise EarmarkError(f"{len(failures)} of {len(paths)} files could not be predicted")
    return 0


def _print_line(line: str) -> None:
    print(line, flush=True)


class _Writer:
    """Writes predictions as a table, CSV or one JSON document, line by line."""

    def __init__(
        self,
        layout: str,
        emit: Callable[[str], object],
        recognizer: Recognizer,
        model_dir: Path,
        top: int,
    ) -> None:
        self._layout, self._emit, self._top = layout, emit, top
        self._recognizer, self._model_dir = recognizer, model_dir
        self._predictions: list[dict[str, Any]] = []
        if layout == "csv":
            names = recognizer.classes
            self._row(["path", "seconds", "prediction", "score", *names])
        elif layout == "table":
            for line in _synthetic_note(recognizer):
                print(line, file=sys.stderr)

    def _row(self, values: Sequence[object]) -> None:
        class Line:
            """Takes the one line the CSV writer makes."""

            def __init__(self, emit: Callable[[str], object]) -> None:
                self.write = lambda text: emit(text)

        csv.writer(Line(self._emit), lineterminator="").writerow(values)

    def add(self, prediction: Prediction) -> None:
        """Take the next prediction."""
        if self._layout == "json":
            self._predictions.append(prediction.to_json())
        elif self._layout == "csv":
            scores = [f"{prediction.scores[name]:.6f}" for name in self._recognizer.classes]
            self._row(
                [
                    *(prediction.path, f"{prediction.seconds:.3f}", prediction.label),
                    *(f"{prediction.score:.6f}", *scores),
                ]
            )
        else:
            best = list(prediction.scores.items())[: self._top]
            self._emit(
                f"{prediction.path}  " + "  ".join(f"{name} {score:.3f}" for name, score in best)
            )

    def close(self, failures: Sequence[str]) -> None:
        """Write what belongs at the end."""
        if self._layout == "json":
            document = {
                "model": _model_json(self._recognizer, self._model_dir),
                "predictions": self._predictions,
                "failures": list(failures),
            }
            self._emit(json.dumps(document, indent=2, ensure_ascii=False))


def _audio_paths(arguments: Sequence[str]) -> list[Path]:
    """Expand folders and globs into files, each once, in order."""
    from earmark.audio import has_audio_suffix

    found: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            inside = sorted(
                file for file in path.rglob("*") if has_audio_suffix(file) and file.is_file()
            )
            if not inside:
                raise EarmarkError(f"{argument}: holds no audio files")
            found.update(dict.fromkeys(inside))
        elif path.exists() or not glob.has_magic(argument):
            found[path] = None  # a missing file is reported with the others
        else:
            matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207
            if not matches:
                raise EarmarkError(f"{argument}: no file matches")
            found.update(dict.fromkeys(match for match in matches if match.is_file()))
    return list(found)


if __name__ == "__main__":
    sys.exit(main())
