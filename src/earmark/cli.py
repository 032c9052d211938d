"""The command `earmark` and the two documented scripts.

Heavy modules are imported by the commands that need them, so that `--help` and `--version` answer
at once. Every fault of the input ends as one line on stderr and a non-zero exit.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from earmark import __version__
from earmark.commands import (
    cache,
    calibrate,
    crossval,
    embed,
    evaluate,
    export,
    label,
    predict,
    prepare,
    results,
    scan,
    serve,
    similar,
    stream,
    train,
)
from earmark.commands.printing import show_audio_warnings
from earmark.config import EventSettings, TrainingSettings
from earmark.errors import EarmarkError

_FREE_SPACE = "; free space or choose another place"
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EFBIG, errno.EDQUOT), _FREE_SPACE),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR), "; choose another place"
    ),
}
_INTERRUPTED = 130  # what a shell reports for Ctrl-C
_EARLIER_FLAGS = {
    **TrainingSettings.EARLIER_NAMES,
    **EventSettings.EARLIER_NAMES,
    "rate_hz": "sample_rate",
}
_EARLIER_ESC10 = "box"  # what --init called the model of ESC-10, bundled alone then


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
        "  earmark predict --model_dir models/lstm-128-2-1767225600 recordings/\n"
        "  earmark label recordings/ --out archive/\n"
        "  earmark stream                       # the microphone\n"
        "  earmark serve                        # a page in the browser\n\n"
        "earmark COMMAND --help tells more about each command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"earmark {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for name, module, text in (
        ("prepare", prepare, "turn a dataset into split files"),
        ("cache", cache, "show or clear the features that are kept on disk"),
        ("train", train, "train a model on one split"),
        ("crossval", crossval, "train and test every fold of a dataset"),
        ("evaluate", evaluate, "score a model on a split, or one audio file"),
        ("predict", predict, "name the sounds in files, folders and globs"),
        ("label", label, "label an archive of recordings, and never start over"),
        ("scan", scan, "look at an archive before it is labelled: what decodes, gaps, time, size"),
        ("results", results, "read an archive: tables, questions in SQL, a page"),
        ("stream", stream, "detect sounds in a microphone, a pipe or a file as it comes"),
        ("serve", serve, "open a page that shows sounds named as they happen"),
        ("embed", embed, "write a table of embeddings of files, or of every second of them"),
        ("similar", similar, "find what in such a table sounds most like a clip"),
        ("calibrate", calibrate, "fit a model's thresholds to recordings of background"),
        ("export", export, "write a model as one ONNX file that runs anywhere"),
    ):
        command = commands.add_parser(
            name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.description = text[0].upper() + text[1:] + "."
        module.add_arguments(command)
        command.set_defaults(run=module.run, beside=None)
    return _guarded(parser, argv)


def train_main(argv: Sequence[str] | None = None, *, beside: Path | None = None) -> int:
    """Run `lstm_classifier_train.py`; `splits/` is also looked for in the folder `beside`."""
    parser = _Parser(
        prog="lstm_classifier_train.py",
        description="Train the LSTM classifier on one split.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_arguments(parser, dataset=False)
    parser.set_defaults(run=train.run, beside=beside)
    return _guarded(parser, argv)


def inference_main(argv: Sequence[str] | None = None, *, beside: Path | None = None) -> int:
    """Run `lstm_inference.py`; `splits/` is also looked for in the folder `beside`."""
    parser = _Parser(
        prog="lstm_inference.py",
        description="Evaluate a trained model on a split, or predict one audio file.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_arguments(parser)
    parser.set_defaults(run=evaluate.run, beside=beside)
    return _guarded(parser, argv)


class _Parser(argparse.ArgumentParser):
    """Accepts hyphens for the underscores in flags, and reports a wrong flag in one line.

    A flag that had another name in an earlier version is refused with its name of now.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        for place, word in enumerate(words):
            if word == "--":
                break
            if word.startswith("--"):
                flag, equals, value = word.partition("=")
                words[place] = "--" + flag[2:].replace("-", "_") + equals + value
                self._refuse_earlier(words[place].partition("=")[0])
        known, unknown = super().parse_known_args(words, namespace)
        if unknown:  # said by the command that was given them, whose help tells what there is
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        if getattr(known, "init", None) == _EARLIER_ESC10 and not Path(_EARLIER_ESC10).exists():
            self.error(f"--init {_EARLIER_ESC10} is now --init esc10")
        return known, unknown

    def _refuse_earlier(self, flag: str) -> None:
        """Refuse a flag of an earlier version, if this command has what it is called now."""
        new = "--" + _EARLIER_FLAGS.get(flag[2:], "")
        flags = self._option_string_actions
        if flag not in flags and new in flags:
            self.error(f"{flag} is now {new}")

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _guarded(parser: _Parser, argv: Sequence[str] | None) -> int:
    """Parse, run, and turn every expected fault into one line and an exit code."""
    for output in (sys.stdout, sys.stderr):  # file names may hold what the terminal cannot show
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")
    args = parser.parse_args(argv)
    try:
        with show_audio_warnings():
            return int(args.run(args))
    except EarmarkError as error:
        message = str(error)
    except BrokenPipeError:  # the reader of our output went away; nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        remedy = _REMEDIES.get(error.errno or 0, "")
        message = f"{where}{(error.strerror or str(error)).lower()}{remedy}"
    except ModuleNotFoundError as error:
        message = (
            f"{error.name} is not installed; install the rest with: pip install earmark[train]"
        )
    except (MemoryError, RuntimeError) as error:
        large = ("memory", "overflow")  # torch's words for more than there is, and than can be
        if isinstance(error, RuntimeError) and not any(word in str(error) for word in large):
            raise
        message = "not enough memory; use a smaller --batch_size or --hidden_size"
    except KeyboardInterrupt as interrupt:
        print(f"{parser.prog}: interrupted{interrupt}", file=sys.stderr)
        return _INTERRUPTED
    print(f"{parser.prog}: error: {' '.join(message.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
