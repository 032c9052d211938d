"""Uploads: under limits, never a path, never left behind."""

import asyncio
import http.client
import io
import json
import socket

import numpy as np
import pytest
import soundfile

from earmark.serve.settings import Access, RefusedError
from earmark.serve.uploads import UploadStore
from tests.alerts.builders import until
from tests.serve.running import Client, ask, fault, limits, noise, running

LIMITS = limits(upload_bytes=600_000, upload_seconds=10.0, uploads=2, body_seconds=0.3)


def wav(seconds=1.0):
    file = io.BytesIO()
    soundfile.write(file, noise(seconds), 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture(scope="module")
def bounded():
    with running(Access(port=0, limits=LIMITS)) as (site, address):
        yield site, address


def held(site):
    return sorted(path.name for path in site.uploads._folder.iterdir())


def send(address, data, name="a.wav"):
    return ask(address, "POST", f"/api/files?name={name}", data)


def test_a_file_is_taken_heard_and_removed(bounded):
    site, address = bounded
    status, _, body = send(address, wav())
    taken = json.loads(body)
    assert (status, taken["name"], taken["seconds"]) == (201, "a.wav", 1.0)
    assert held(site) == [taken["id"]]
    start = {"source": {"kind": "file", "id": taken["id"]}, "spectrogram": True}
    with Client(address, {**start, "thresholds": {"Rain": 0.001}}) as client:
        end = client.until("end")
    assert 0.9 < end["seconds"] <= 1.0
    assert client.columns
    status, _, sound = ask(address, "GET", f"/api/files/{taken['id']}/sound?start=0.5")
    samples, rate = soundfile.read(io.BytesIO(sound))
    assert (status, len(samples) / rate) == (200, pytest.approx(0.5, abs=1e-3))
    assert ask(address, "DELETE", f"/api/files/{taken['id']}")[0] == 204
    assert held(site) == []
    assert ask(address, "DELETE", f"/api/files/{taken['id']}")[0] == 404
    with Client(address, start) as client:
        assert client.refusal()[0] == "source"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "audio"),
        (b"GIF89a not a sound", 422, "audio"),
        (wav()[:20], 422, "audio"),
        (bytes(700_000), 413, "size"),
        (wav(12.0), 413, "length"),
    ],
    ids=["empty", "no sound", "cut", "too large", "too long"],
)
def test_what_is_no_sound_or_too_much_is_refused_and_nothing_stays(bounded, data, status, code):
    site, address = bounded
    answer = send(address, data)
    assert (answer[0], fault(answer)) == (status, code)
    assert str(site.uploads._folder) not in answer[2].decode()
    assert held(site) == []


def test_a_size_that_is_not_declared_is_counted(bounded):
    site, address = bounded
    connection = http.client.HTTPConnection(address, timeout=20)
    connection.request("POST", "/api/files", (bytes(100_000) for _ in range(9)))
    assert connection.getresponse().status == 413
    assert held(site) == []


def test_an_upload_that_stands_still_is_given_up(bounded):
    site, address = bounded
    name, port = address.split(":")
    with socket.create_connection((name, int(port)), timeout=20) as half:
        request = f"POST /api/files HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9999\r\n\r\nRIFF"
        half.sendall(request.encode())
        assert b"408" in half.recv(100)
    assert held(site) == []


def test_names_are_never_paths(bounded, tmp_path):
    site, address = bounded
    before = sorted(tmp_path.parent.iterdir())
    for name in (
        "../../etc/passwd",
        "%2e%2e%2fx",
        "C%3A%5Cx.wav",
        "a%00b",
        "%3Cscript%3E",
        "x" * 900,
    ):
        status, _, body = send(address, wav(0.3), name)
        taken = json.loads(body)
        assert status == 201
        assert held(site) == [taken["id"]]
        assert len(taken["name"]) <= 80
        assert "\0" not in taken["name"]
        assert ask(address, "DELETE", f"/api/files/{taken['id']}")[0] == 204
    assert sorted(tmp_path.parent.iterdir()) == before
    for path in (
        "/api/files/..%2f..%2fetc%2fpasswd/sound",
        "/clips/..%2f..%2f..%2fetc%2fpasswd.wav",
        "/clips/%2e%2e/x.wav",
        "/..%2f..%2fpyproject.toml",
        "/%2e%2e/app.py",
        "/static/../app.py",
        "//etc/passwd",
    ):
        assert ask(address, "GET", path)[0] == 404


def test_there_is_room_for_so_many_files(bounded):
    _, address = bounded
    taken = [json.loads(send(address, wav(0.3))[2])["id"] for _ in range(2)]
    answer = send(address, wav(0.3))
    assert (answer[0], fault(answer)) == (503, "uploads")
    for name in taken:
        assert ask(address, "DELETE", f"/api/files/{name}")[0] == 204


def test_files_that_nobody_asks_for_go(tmp_path):
    now = [0.0]
    store = UploadStore(tmp_path / "kept", LIMITS, clock=lambda: now[0])

    async def body():
        yield wav(0.3)

    upload = asyncio.run(store.take(body(), "a.wav", 0))
    now[0] = 1000.0
    assert store.find(upload.id) is upload
    now[0] = 2700.0
    store.prune()
    assert upload.path.exists()
    now[0] = 2801.0
    store.prune()
    assert not upload.path.exists()
    assert store.find(upload.id) is None


def test_a_file_that_nobody_asks_for_makes_room_and_one_that_is_read_does_not(tmp_path):
    now, read = [0.0], set[str]()
    store = UploadStore(tmp_path / "kept", LIMITS, reading=lambda: read, clock=lambda: now[0])

    def take():
        async def body():
            yield wav(0.3)

        return asyncio.run(store.take(body(), "a.wav", 0))

    first, second = take(), take()
    read.add(first.id)
    now[0] = 59.0
    with pytest.raises(RefusedError, match="try again later"):
        take()
    now[0] = 61.0
    third = take()
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == sorted(
        [first.id, third.id]
    )
    assert store.find(second.id) is None
    now[0] = 5000.0
    store.prune()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [first.id]


def test_files_that_nobody_asks_for_go_though_nothing_else_is_sent(monkeypatch):
    monkeypatch.setattr("earmark.serve.app._PRUNE_SECONDS", 0.05)
    with running(Access(port=0, limits=limits(upload_idle_seconds=0.2))) as (site, address):
        taken = json.loads(send(address, wav(60.0))[2])["id"]
        start = {"source": {"kind": "file", "id": taken}}
        with Client(address, start) as client:
            assert client.until("end")["seconds"] > 59.0
        assert until(lambda: held(site) == [])


def test_nothing_is_left_when_the_server_ends():
    with running() as (site, address):
        assert send(address, wav())[0] == 201
        folder = site.uploads._folder.parent
        assert held(site)
    assert not folder.exists()


def test_a_connection_that_breaks_leaves_nothing(tmp_path):
    store = UploadStore(tmp_path / "kept", LIMITS)

    async def body():
        yield wav()[:5000]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(store.take(body(), "a.wav", 0))
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_stretch_is_gone_to_and_not_decoded_from_the_begin(bounded, monkeypatch):
    _, address = bounded
    name = json.loads(send(address, wav(3.0))[2])["id"]
    monkeypatch.setattr("earmark.serve.app.read_file", None)
    status, _, sound = ask(address, "GET", f"/api/files/{name}/sound?start=2&seconds=0.5")
    assert (status, soundfile.info(io.BytesIO(sound)).duration) == (200, 0.5)
    assert ask(address, "DELETE", f"/api/files/{name}")[0] == 204


def test_a_wrong_stretch_is_refused(bounded):
    _, address = bounded
    name = json.loads(send(address, wav(0.3))[2])["id"]
    for query in ("start=-1", "seconds=0", "seconds=1e9", "start=nan", "start=inf", "start=x"):
        assert ask(address, "GET", f"/api/files/{name}/sound?{query}")[0] == 422
    ask(address, "DELETE", f"/api/files/{name}")


def test_the_limit_of_number_holds_while_they_come(tmp_path):
    store = UploadStore(tmp_path / "kept", limits(uploads=1))

    async def both():
        async def slow():
            yield wav(0.3)
            await asyncio.sleep(0.2)

        first = asyncio.create_task(store.take(slow(), "a.wav", 0))
        await asyncio.sleep(0.05)
        with pytest.raises(RefusedError, match="try again later"):
            await store.take(slow(), "b.wav", 0)
        await first

    asyncio.run(both())
    assert np.isclose(len(store), 1)
