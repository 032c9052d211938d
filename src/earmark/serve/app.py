"""The addresses of the server; docs/protocol.md lists them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from earmark import __version__
from earmark.classifier import Classifier
from earmark.config import EventSettings
from earmark.decision.policy import NONE
from earmark.errors import AudioError, EarmarkError
from earmark.io.stretch import seek
from earmark.output.events import event_writer
from earmark.runtime.events import Event
from earmark.serve.clips import ClipStore, to_pcm, to_wav
from earmark.serve.connection import Connection, Outbox
from earmark.serve.guard import Guard
from earmark.serve.hub import Hub
from earmark.serve.metrics import Metrics
from earmark.serve.protocol import MOST_NAME, Start
from earmark.serve.requests import faulty, left, read_json, refused, unkept
from earmark.serve.scratch import Scratch
from earmark.serve.settings import Access, RefusedError
from earmark.serve.sounds import SoundsFolder
from earmark.serve.sources import FileReader, MicrophoneReader, read_file
from earmark.serve.stream import Stream
from earmark.serve.teach import Teaching, add_teaching
from earmark.serve.uploads import UploadStore
from earmark.serve.visitors import Visitors

STATIC = Path(__file__).parent / "static"
_DOWNLOADS = {
    "jsonl": ("application/x-ndjson", "jsonl"),
    "audacity": ("text/plain", "txt"),
    "raven": ("text/plain", "raven.txt"),
    "csv": ("text/csv", "csv"),
}
_MOST_HEARD_SECONDS = 60.0  # of a file, in one request
_PRUNE_SECONDS = 10.0  # between two looks for uploaded files that nobody asks for
_MOST_LABELS_BYTES = 16 << 20  # some 20,000 events, as a page has them after a day
_FILE, _MICROPHONE = "file", "microphone"


@dataclass(frozen=True)
class SentEvent(Event):
    """An event as a stream sent it.

    Attributes:
        sent: what the stream said of it beside the event: `time`, `threshold` and `clip`.
    """

    sent: Mapping[str, str | float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain values."""
        return {**super().to_dict(), **self.sent}


@dataclass
class ServerSource:
    """A source of the server's own.

    Attributes:
        id: names it.
        name: for people.
        kind: "file" or "microphone".
        path: of a file.
        stream: the stream that it feeds now, if any.
    """

    id: str
    name: str
    kind: str
    path: Path | None = None
    stream: Stream | None = None


class Site:
    """What the addresses share.

    Args:
        classifier: names the sounds.
        access: who may come.
        settings: how scores become events.
        files: that the page offers to listen to.
        microphone: the server's microphone: a name or number, "" for the default, None for none.
        sounds: folder of verdicts and trained models; None: nothing is taught.
        model: how the classifier was named, to go back to.
        recipe: how own sounds are trained.

    Attributes:
        hub: advances all streams.
        uploads: files that were uploaded.
    """

    def __init__(
        self,
        classifier: Classifier,
        access: Access,
        *,
        settings: EventSettings | None = None,
        files: tuple[Path, ...] = (),
        microphone: str | None = None,
        sounds: Path | None = None,
        model: str | None = None,
        recipe: str = "finetune",
    ) -> None:
        self.access, self.metrics = access, Metrics()
        self.visitors = Visitors(access.limits.address_sessions)
        self._scratch = Scratch()
        folder, limits = self._scratch.path, access.limits
        self.clips = ClipStore(
            folder / "clips",
            most_bytes=limits.clip_bytes,
            age_seconds=limits.clip_age_seconds,
        )
        self.uploads = UploadStore(folder / "uploads", limits, reading=self._files_read)
        self.hub = Hub(
            classifier,
            clips=self.clips,
            settings=settings,
            limits=limits,
            metrics=self.metrics,
        )
        self.sources = [
            ServerSource(f"{_FILE}-{number}", path.name, _FILE, path)
            for number, path in enumerate(files)
        ]
        self._microphone: MicrophoneReader | None = None
        if microphone is not None:
            self._microphone = MicrophoneReader(self.hub, microphone or None)
            self.sources.append(
                ServerSource(_MICROPHONE, self._microphone.source.name, _MICROPHONE)
            )
        self.teaching: Teaching | None = None
        if sounds is not None:
            self.teaching = Teaching(self, SoundsFolder(sounds), model=model, recipe=recipe)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to advance streams; the server's microphone is listened to from now on."""
        self.hub.start(loop.call_soon_threadsafe)
        for source in self.sources:
            if source.kind == _MICROPHONE and self._microphone is not None:
                start = Start(name=source.name, kind="server", source=source.id, spectrogram=True)
                source.stream = self.hub.open(start, self._microphone.sample_rate)
                self._microphone.start(source.stream)

    def _files_read(self) -> set[str]:
        """Return the ids of the uploaded files that are read now."""
        return {one.start.source for one in self.hub.streams() if one.kind == "file"}

    def close(self) -> None:
        """End all streams, and leave nothing behind."""
        if self.teaching is not None:
            self.teaching.close()
        self.hub.stop()
        self._scratch.close()

    def use(self, classifier: Classifier) -> None:
        """Use another model from now on, for the server's own sources too.

        Raises:
            ModelError: it is bidirectional.
        """
        self.hub.use(classifier)
        for source in self.sources:
            old = source.stream
            if old is None or old.over or old.ending:
                continue
            if source.kind == _MICROPHONE and self._microphone is not None:
                source.stream = self._microphone.stream = self.hub.reopen(old)
            else:  # it is read again, from its begin, when somebody asks for it
                source.stream = None
                self.hub.finish(old)

    def open_stream(self, start: Start, sink: Outbox) -> Stream:
        """Open what a client asks for.

        Raises:
            RefusedError: there is no such file or source, or no room.
        """
        rate = self.hub.model.scorer.sample_rate
        if start.kind == "client":
            return self.hub.open(start, start.sample_rate, sink)
        if start.kind == "file":
            upload = self.uploads.find(start.source)
            if upload is None:
                raise RefusedError("source", "that file is not here any more; send it again", 404)
            stream = self.hub.open(_named(start, upload.name), rate, sink)
            FileReader(self.hub, stream, upload.path).start()
            return stream
        source = next((one for one in self.sources if one.id == start.source), None)
        if source is None:
            raise RefusedError("source", "the server has no such source", 404)
        stream_now = source.stream
        if stream_now is not None and not stream_now.over:
            stream_now.sinks.add(sink)
            return stream_now
        if source.path is None:
            raise RefusedError("source", "the server's microphone has ended; start it again", 503)
        source.stream = stream = self.hub.open(_named(start, source.name), rate, sink)
        stream.show_columns()
        FileReader(self.hub, stream, source.path, real_time=True).start()
        return stream


def make_app(site: Site) -> FastAPI:
    """Return the application."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        site.start(asyncio.get_running_loop())
        pruning = asyncio.create_task(_prune(site.uploads))
        try:
            yield
        finally:
            pruning.cancel()
            await asyncio.to_thread(site.close)

    # Its pages of documentation would fetch scripts from elsewhere.
    app = FastAPI(
        title="Earmark",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )

    def count(code: str) -> None:
        site.metrics.refused.labels(code).inc()

    async def counted(request: Request, error: Exception) -> Response:
        if isinstance(error, RefusedError):
            count(error.code)
        return await refused(request, error)

    app.state.count_refusal = count
    app.add_exception_handler(RefusedError, counted)
    app.add_exception_handler(EarmarkError, faulty)
    app.add_exception_handler(OSError, unkept)
    app.add_exception_handler(ClientDisconnect, left)
    _add_status(app, site)
    _add_files(app, site)
    _add_stream(app, site)
    if site.teaching is not None and site.teaching.fault is None:
        add_teaching(app, site.teaching)
    app.mount("/", StaticFiles(directory=STATIC, html=True), name="page")
    return app


async def _prune(uploads: UploadStore) -> None:
    """Remove uploaded files that nobody asks for, also while nobody sends another."""
    while True:
        await asyncio.sleep(_PRUNE_SECONDS)
        uploads.prune()


def guarded(app: FastAPI, access: Access) -> Guard:
    """Return the application behind its guard."""
    return Guard(app, access, getattr(app.state, "count_refusal", None))


def _add_status(app: FastAPI, site: Site) -> None:
    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Say that the server answers."""
        return "ok\n"

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return counts for Prometheus."""
        return Response(site.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/api/model")
    async def model() -> dict[str, Any]:
        """Say which model names the sounds."""
        return model_json(site)

    @app.get("/api/sources")
    async def sources() -> list[dict[str, str]]:
        """List the server's own sources."""
        return [{"id": one.id, "name": one.name, "kind": one.kind} for one in site.sources]


def _add_files(app: FastAPI, site: Site) -> None:
    @app.post(
        "/api/files", status_code=201, responses={400: {}, 408: {}, 413: {}, 422: {}, 503: {}}
    )
    async def upload(request: Request, name: str = "file") -> dict[str, Any]:
        """Take a file; its bytes are the body of the request."""
        declared = request.headers.get("content-length", "")
        taken = await site.uploads.take(
            request.stream(), name[: 4 * MOST_NAME], int(declared) if declared.isdigit() else 0
        )
        site.metrics.uploads.inc()
        return {
            "id": taken.id,
            "name": taken.name,
            "bytes": taken.bytes,
            "seconds": round(taken.seconds, 3),
        }

    @app.delete("/api/files/{file}", status_code=204, responses={404: {}})
    async def remove(file: str) -> Response:
        """Remove a file that was uploaded."""
        if not site.uploads.remove(file):
            raise RefusedError("file", "there is no such file", 404)
        return Response(status_code=204)

    @app.get("/api/files/{file}/sound", responses={404: {}, 422: {}})
    async def sound(file: str, start: float = 0.0, seconds: float = 10.0) -> Response:
        """Return a stretch of a file that was uploaded, as WAV."""
        taken = site.uploads.find(file)
        if taken is None:
            raise RefusedError("file", "there is no such file", 404)
        if not (0 <= start < 1e7 and 0 < seconds <= _MOST_HEARD_SECONDS):
            raise RefusedError(
                "time", f"start is at least 0, seconds at most {_MOST_HEARD_SECONDS:g}", 422
            )
        rate = site.hub.model.scorer.sample_rate
        data = await asyncio.to_thread(_stretch, taken.path, taken.name, rate, start, seconds)
        return Response(data, media_type="audio/wav")

    @app.get("/clips/{clip}.wav", responses={404: {}})
    async def clip(clip: str) -> Response:
        """Return the clip of an event."""
        path = site.clips.path(clip)
        if path is None:
            raise RefusedError("clip", "this clip is not kept any more", 404)
        return FileResponse(path, media_type="audio/wav")


def _add_stream(app: FastAPI, site: Site) -> None:
    @app.websocket("/api/stream")
    async def stream(socket: WebSocket) -> None:
        """Serve one session; see docs/protocol.md."""
        await Connection(socket, site.hub, site.open_stream, site.visitors).serve()

    @app.post("/api/labels", responses={400: {}, 413: {}, 422: {}})
    async def labels(request: Request, format: str = "jsonl") -> Response:
        """Write events as a table that other programs open; the body lists the events."""
        if format not in _DOWNLOADS:
            raise RefusedError("format", f"the format is one of {', '.join(_DOWNLOADS)}", 422)
        seconds = site.access.limits.body_seconds
        body = await read_json(request, _MOST_LABELS_BYTES, seconds)
        events = await asyncio.to_thread(parse_events, body)
        media_type, suffix = _DOWNLOADS[format]
        headers = {"content-disposition": f'attachment; filename="earmark.{suffix}"'}
        text = await asyncio.to_thread(write_events, events, format, site)
        return Response(text, media_type=f"{media_type}; charset=utf-8", headers=headers)


def model_json(site: Site) -> dict[str, Any]:
    """Return what the page says of the model."""
    info = site.hub.model.classifier.info
    thresholds = info.calibration.thresholds
    return {
        "name": info.name,
        "classes": list(info.classes),
        "none": NONE,
        "thresholds": dict(zip(info.classes, thresholds, strict=False)),
        "sample_rate": info.sample_rate,
        "front_end": {
            "n_mels": info.front_end.n_mels,
            "hop_length": info.front_end.hop_length,
            "low_hz": info.front_end.low_hz,
            "high_hz": info.front_end.high_hz,
        },
        "fingerprint": info.fingerprint,
        "trained_on": info.data.get("dataset"),
        "version": __version__,
        "teaching": site.teaching is not None and site.teaching.fault is None,
    }


def parse_events(values: Any) -> list[SentEvent]:
    """Read events as the stream sent them.

    Raises:
        RefusedError: they are of another form, or hold a number that is none.
    """
    try:
        events = [
            SentEvent(
                str(value["label"]),
                _finite(value["onset"]),
                _finite(value["offset"]),
                _finite(value["score"]),
                {str(name): _finite(score) for name, score in value.get("top", {}).items()},
                str(value.get("source", "")),
                str(value.get("model", "")),
                {name: read(value[name]) for name, read in _SENT.items() if name in value},
            )
            for value in values
        ]
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise RefusedError("events", "the request is no list of events", 422) from None
    return sorted(events, key=lambda event: (event.onset, event.offset))


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(value)
    return number


_SENT: dict[str, Callable[[Any], str | float]] = {"time": str, "threshold": _finite, "clip": str}


def write_events(events: Sequence[Event], format: str, site: Site) -> str:
    """Return events as text that other programs open."""
    front_end = site.hub.model.classifier.info.front_end
    lines: list[str] = []
    writer = event_writer(format, lines.append, low_hz=front_end.low_hz, high_hz=front_end.high_hz)
    writer.open()
    for event in events:
        writer.write(event)
    writer.close()
    return "".join(f"{line}\n" for line in lines)


def _stretch(path: Path, name: str, rate: int, start: float, seconds: float) -> bytes:
    """Return a stretch of a file; it is read from its begin only where it cannot be gone to."""
    if (found := seek(path, rate, start=start, seconds=seconds)) is not None:
        return to_wav(to_pcm(found), rate)
    first, last = round(start * rate), round((start + seconds) * rate)
    at, parts = 0, [np.zeros(0, np.float32)]
    blocks = read_file(path, rate, name, float("inf"))
    with contextlib.closing(blocks), contextlib.suppress(AudioError):
        for block in blocks:
            parts.append(block[max(0, first - at) : max(0, last - at)])
            at += len(block)
            if at >= last:
                break
    return to_wav(to_pcm(np.concatenate(parts)), rate)


def _named(start: Start, name: str) -> Start:
    return replace(start, name=name)
