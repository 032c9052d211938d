"""Alerts to a program: no shell, no secrets, no hanging."""

import json
import sys
import threading
import time

import pytest

from earmark.alerts.command_line import CommandLine, variables_of
from earmark.alerts.sender import DeliveryError, StoppedError
from earmark.alerts.settings import CommandSettings
from tests.alerts.builders import alert, until

EVIL = 'Dog"; touch /tmp/x; $(id) `id` \n-rf \0 ü'
WRITE = """
import json, os, pathlib, sys
given = {key: value for key, value in os.environ.items() if key.startswith(("EARMARK", "TOKEN"))}
pathlib.Path(sys.argv[1]).write_text(json.dumps([sys.argv[2:], sys.stdin.read(), given]))
"""


def program(code, *words, secrets=(), **options):
    command = (sys.executable, "-c", code, *map(str, words))
    return CommandLine(CommandSettings(command=command, **options), secrets)


def test_a_program_gets_json_and_variables_and_no_argument_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("TOKEN", "s3cret")
    target = program(WRITE, tmp_path / "got", "$HOME", "a b", secrets={"TOKEN"})
    target.deliver(alert(label=EVIL), threading.Event())
    words, given, variables = json.loads((tmp_path / "got").read_text(encoding="utf-8"))
    assert words == ["$HOME", "a b"]
    assert json.loads(given) == alert(label=EVIL)
    assert given.endswith("\n")
    assert "TOKEN" not in variables
    assert variables["EARMARK_LABEL"] == EVIL.replace("\0", "")
    assert variables["EARMARK_SCORE"] == "0.91"
    assert variables["EARMARK_TIME"] == "2026-05-01T04:30:00.000+00:00"
    assert variables["EARMARK_CLIP"] == "clips/0.flac"
    assert variables["EARMARK_LEVEL_DB"] == ""


def test_titles_are_for_people():
    assert variables_of(alert())["EARMARK_TITLE"] == "dogs: Dog bark (0.91)"
    loud = alert(rule="bang", label="none of these", level_db=-12.5)
    assert variables_of(loud)["EARMARK_TITLE"] == "bang: loud, and none of these (-12.5 dB)"


@pytest.mark.parametrize(
    ("target", "part"),
    [
        (program("import sys; sys.exit('no\\nit said why')"), "ended with 1 (it said why)"),
        (program("raise SystemExit(7)"), "ended with 7"),
        (CommandLine(CommandSettings(command=("/no/such/program",))), "no such file"),
        (program("print('x' * 10**6); import sys; sys.exit(1)"), "ended with 1"),
    ],
)
def test_a_program_that_fails_says_why_and_may_be_tried_again(target, part):
    with pytest.raises(DeliveryError) as caught:
        target.deliver(alert(), threading.Event())
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (caught.value.again, target.tries) == (True, 5)


HANG = 'sleep 60 & echo $! > "$0"; wait'


def gone(pid):
    """Whether a process has ended; one that nobody waits for has, too."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    command = ("sh", "-c", HANG, str(tmp_path / "pid"))
    target = CommandLine(CommandSettings(command=command, timeout_seconds=1.5))
    with pytest.raises(DeliveryError, match=r"took longer than 1\.5 s and was ended"):
        target.deliver(alert(), threading.Event())
    child = int((tmp_path / "pid").read_text(encoding="utf-8"))
    assert until(lambda: gone(child))


def test_stopping_ends_a_program():
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(StoppedError):
        program("import time; time.sleep(60)").deliver(alert(), stop)
    assert time.monotonic() - begun < 30
