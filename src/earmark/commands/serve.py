"""`earmark serve`: a page that shows sounds named as they happen."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from earmark.commands.flags import add_cuda, add_event_settings, choose_device, event_settings
from earmark.commands.following import add_following, keep_settings, rules_path
from earmark.commands.printing import print_line, synthetic_note
from earmark.errors import SettingsError

_RECIPE = "finetune"
_PORT = 8765  # as `earmark.serve.settings.PORT`, which needs no import for --help
_BLOCK_SECONDS = 0.5  # as there


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `serve`."""
    parser.add_argument(
        "--model_dir",
        metavar="DIR",
        help="a run of training, or a file of earmark export, or one of the words base and esc10, "
        "models of the package (base)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (%(default)s, this machine alone); any other needs a token",
    )
    parser.add_argument(
        "--port", type=int, default=_PORT, metavar="INT", help="port to listen on (%(default)s)"
    )
    parser.add_argument(
        "--token",
        default="",
        metavar="TEXT",
        help="what a browser must show; made and printed where one is needed and none given",
    )
    parser.add_argument(
        "--allow_host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name of this server, as behind a proxy; may be given again",
    )
    parser.add_argument(
        "--allow_origin",
        action="append",
        default=[],
        metavar="URL",
        help="a further origin whose pages may use this server, as https://example.org",
    )
    parser.add_argument("--certificate", default="", metavar="FILE", help="TLS certificate (PEM)")
    parser.add_argument("--key", default="", metavar="FILE", help="its private key (PEM)")
    parser.add_argument(
        "--microphone",
        nargs="?",
        const="",
        metavar="NAME",
        help="listen to this machine's microphone too, by name or number, page or no page",
    )
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="offer a file of this machine on the page; may be given again",
    )
    parser.add_argument(
        "--sessions", type=int, default=256, metavar="INT", help="streams at a time (%(default)s)"
    )
    parser.add_argument(
        "--address_sessions",
        type=int,
        default=64,
        metavar="INT",
        help="sessions at a time of one address, this machine's own excepted (%(default)s; 0: any)",
    )
    parser.add_argument(
        "--block_seconds",
        type=float,
        default=_BLOCK_SECONDS,
        metavar="FLOAT",
        help="sound that is scored at a time, to the model's nearest step (%(default)s); longer "
        "blocks let a core serve more streams and answer later",
    )
    parser.add_argument(
        "--sounds",
        type=Path,
        default=Path("earmark-sounds"),
        metavar="DIR",
        help="where clips, verdicts and models that are made on the page go (%(default)s); a model "
        "that was taken there is used again, unless --model_dir names another, and so are the "
        "thresholds that were fitted to a room for the model",
    )
    parser.add_argument(
        "--recipe",
        default=_RECIPE,
        metavar="NAME",
        help="how sounds of the page are trained (%(default)s); it needs earmark[train]",
    )
    add_cuda(parser)
    add_event_settings(parser)
    add_following(parser)
    parser.epilog = (
        "Opens nothing and asks nothing: open the address that it prints. A browser gives a page\n"
        "the microphone only on this machine or over TLS.\n\n"
        "examples:\n"
        "  earmark serve\n"
        "  earmark serve --microphone --host 0.0.0.0\n"
        "  earmark serve --host 0.0.0.0 --certificate cert.pem --key key.pem"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; return the exit code."""
    try:
        from earmark.serve import server
        from earmark.serve.app import Site
        from earmark.serve.following import following
        from earmark.serve.settings import (
            LONGEST_BLOCK_SECONDS,
            Access,
            Limits,
            is_loopback,
        )
        from earmark.serve.sounds import SoundsFolder
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in (
            "fastapi",
            "uvicorn",
            "prometheus_client",
            "h11",
        ):
            raise
        raise SettingsError(
            f"serve needs {error.name}, which is not installed: pip install earmark[serve]"
        ) from None
    if args.sessions < 1:
        raise SettingsError(f"--sessions must be at least 1, got {args.sessions}")
    if args.address_sessions < 0:
        raise SettingsError(f"--address_sessions must be at least 0, got {args.address_sessions}")
    if not 0 < args.block_seconds <= LONGEST_BLOCK_SECONDS:
        raise SettingsError(
            f"--block_seconds must be above 0 and at most {LONGEST_BLOCK_SECONDS:g}, got "
            f"{args.block_seconds:g}"
        )
    for path in args.file:
        if not path.is_file():
            raise SettingsError(f"{path}: no such file; check the path")
    settings = event_settings(args)
    token = args.token
    if not token and not is_loopback(args.host):
        token = secrets.token_urlsafe(24)
    access = Access(
        host=args.host,
        port=args.port,
        token=token,
        hosts=tuple(args.allow_host),
        origins=tuple(args.allow_origin),
        certificate=args.certificate,
        key=args.key,
        limits=Limits(
            sessions=args.sessions,
            address_sessions=args.address_sessions,
            block_seconds=args.block_seconds,
        ),
    )
    from earmark.classifier import Classifier

    model = args.model_dir
    sounds = SoundsFolder(args.sounds)
    if model is None and (fault := sounds.choice_fault):
        print(fault, file=sys.stderr)
    if model is None and (used := sounds.chosen["used"]):
        model = str(sounds.model_path(used))
        print(f"using {model}, which was trained on the page", file=sys.stderr)
    classifier = Classifier.load(model, choose_device(args.cuda))
    for line in synthetic_note(classifier):
        print(line, file=sys.stderr)
    listener = server.bind(access)
    with listener:
        site = Site(
            classifier,
            access,
            settings=settings,
            files=tuple(args.file),
            microphone=args.microphone,
            sounds=args.sounds,
            model=args.model_dir,
            recipe=args.recipe,
        )
        teaching = site.teaching
        if teaching is not None and teaching.room is not None:
            kept = teaching.rooms.path(classifier)
            print(f"using {kept}, thresholds fitted to this room on the page", file=sys.stderr)
        if teaching is not None and teaching.fault is not None:
            why = (teaching.fault.strerror or str(teaching.fault)).lower()
            print(
                f"{args.sounds}: cannot be written ({why}), so nothing can be taught on the page; "
                "give another --sounds to teach",
                file=sys.stderr,
            )
        made = server.make_server(site)
        _end_in_order(made.handle_exit)  # before the address is said: who reads it may end it
        with following(site.hub, keep=keep_settings(args), rules=rules_path(args), report=_say):
            print_line(f"Earmark listens: {server.address(access, listener)}")
            print("Ctrl-C ends it.", file=sys.stderr)
            made.run(sockets=[listener])
    return 0


def _end_in_order(handle: Callable[[int, FrameType | None], object]) -> None:
    """Let SIGTERM, and a terminal that is closed, end the server as Ctrl-C does."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        here = threading.current_thread() is threading.main_thread()
        if number is not None and here and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, handle)  # where it is ignored, as under nohup, it stays so


def _say(line: str) -> None:
    """Say something about alerts; any thread may."""
    with contextlib.suppress(OSError):  # the terminal was closed
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
