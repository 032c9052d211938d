"""`earmark serve` as a process: the example's client, TLS, faults in one line, Ctrl-C."""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import earmark
from earmark.commands import serve
from earmark.config import Calibration
from earmark.serve.rooms import Rooms
from earmark.serve.settings import Access, Limits
from tests.processes import ROOT, assert_one_line, call, call_here
from tests.serve.running import Client, ask


def test_the_example_prints_the_events_of_a_real_recording(serve, tmp_path, esc10):
    process, _, address, _ = serve()
    clip = sorted((esc10 / "009 - Rooster").glob("*.ogg"))[0]
    done = subprocess.run(
        [sys.executable, ROOT / "examples/ws_client.py", clip, f"ws://{address}/api/stream"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert "Rooster" in {event["label"] for event in events}
    process.send_signal(signal.SIGINT)
    assert process.wait(30) in (0, 130)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_server_that_is_ended_leaves_nothing_and_removes_what_a_killed_one_left(
    serve, tmp_path, monkeypatch, name
):
    folder = tmp_path / "temporary"
    folder.mkdir()
    (folder / "earmark-serve-other").mkdir()  # of nobody that is known
    monkeypatch.setenv("TMPDIR", str(folder))

    def left():
        return {path.name for path in folder.glob("earmark-serve-*")} - {"earmark-serve-other"}

    killed, *_ = serve()
    (old,) = left()
    killed.kill()
    killed.wait()
    os.utime(folder / old / ".lock", (0, 0))
    lives, *_ = serve()
    (living,) = left()
    assert living != old
    os.utime(folder / living / ".lock", (0, 0))
    process, *_ = serve()
    assert len(left()) == 2
    process.send_signal(getattr(signal, name))
    assert process.wait(30) == 0
    assert left() == {living}
    lives.kill()


def test_a_choice_that_cannot_be_read_is_said_and_the_first_model_used(serve, tmp_path):
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "model.json").write_text("[]")
    process, _, address, _ = serve("--sounds", "sounds")
    assert json.loads(ask(address, "GET", "/api/teach")[2])["used"] == ""
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1].decode().splitlines()
    assert said[0] == (
        f"{Path('sounds/model.json')}: cannot be read, or was cut or edited; no model of the page "
        "is used"
    )


def test_elsewhere_makes_and_prints_a_token(serve):
    _, _, address, rest = serve("--host", "0.0.0.0")
    port = address.rsplit(":", 1)[1]
    assert re.fullmatch(r"\?token=[A-Za-z0-9_-]{20,}", rest)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/model")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_a_certificate_makes_it_tls(serve, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    _, scheme, address, _ = serve("--certificate", certificate, "--key", key)
    assert scheme == "https"
    context = ssl.create_default_context(cafile=certificate)
    with Client(address, {}, scheme="wss", ssl=context) as client:
        assert client.receive()["type"] == "ready"


def test_sounds_that_cannot_be_written_are_used_and_nothing_is_taught(serve, tmp_path):
    classifier, folder = earmark.load("esc10"), tmp_path / "sounds"
    rooms = Rooms(folder)
    rooms.write(classifier, Calibration(thresholds=(0.99,) * 10), {"after": 1.0})
    (folder / ".lock").mkdir()  # which root cannot write either
    process, _, address, _ = serve("--sounds", folder, "--model_dir", "esc10")
    about = json.loads(ask(address, "GET", "/api/model")[2])
    assert set(about["thresholds"].values()) == {0.99}
    assert about["teaching"] is False
    assert ask(address, "GET", "/api/teach")[0] == 404
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1].decode().splitlines()
    assert said[0].startswith(f"using {rooms.path(classifier)}")
    assert said[1].startswith(f"{folder}: cannot be written (is a directory)")
    assert "give another --sounds" in said[1]


def test_faults_are_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = call_here("earmark", "serve", "--port", port, cwd=tmp_path)
    assert_one_line(done, "choose another with --port")
    for words, part in (
        (("--port", "99999"), "65535"),
        (("--token", "x"), "8 or more letters"),
        (("--sessions", "0"), "--sessions"),
        (("--block_seconds", "3"), "--block_seconds"),
        (("--key", "key.pem"), "--certificate"),
        (("--file", "none.wav"), "none.wav: no such file"),
        (("--port", "0", "--certificate", "none.pem"), "none.pem"),
    ):
        assert_one_line(call_here("earmark", "serve", *words, cwd=tmp_path), part)


def test_without_its_packages_it_says_which_extra(tmp_path):
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError('no', name='fastapi')")
    done = call("earmark", "serve", cwd=tmp_path, env=_with_path(tmp_path))
    assert_one_line(done, "earmark[serve]")


def _with_path(folder):
    before = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{before}"}


def test_flags_have_the_defaults_of_the_settings():
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    args, limits = parser.parse_args([]), Limits()
    assert args.port == Access().port
    assert args.block_seconds == limits.block_seconds
    assert (args.sessions, args.address_sessions) == (limits.sessions, limits.address_sessions)
