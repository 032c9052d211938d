"""Teaching over HTTP: verdicts, trainings, models that are taken and taken back, the room."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from fastapi import FastAPI, Request
from numpy.typing import NDArray

from earmark.classifier import Classifier
from earmark.serve.clips import to_pcm
from earmark.serve.protocol import MOST_NAME
from earmark.serve.requests import number, read_body, text
from earmark.serve.rooms import Rooms
from earmark.serve.settings import RefusedError
from earmark.serve.sounds import BACKGROUND, SHORTEST_SECONDS, SoundsFolder, clean_label
from earmark.serve.sources import read_file
from earmark.serve.training_job import TrainingJob, refuse_untrainable

if TYPE_CHECKING:
    from earmark.serve.app import Site

MOST_RECORDING_SECONDS = 1800.0
_REFUSALS: dict[int | str, dict[str, Any]] = {400: {}, 404: {}, 409: {}, 413: {}, 422: {}}


class Teaching:
    """What is taught on one server.

    A folder that cannot be written is read: its model's room holds, and nothing is taught.

    Args:
        site: the server.
        sounds: where verdicts are kept.
        model: the model that the server began with, as it was named.
        recipe: how own sounds are trained.

    Raises:
        StorageError: another server uses the folder.
        ModelError: the thresholds of the model's room were cut or edited.

    Attributes:
        fault: why the folder cannot be written; None: it can.
        room: how the thresholds of the model that is used were fitted to a room; None: they are
            its own.
    """

    def __init__(self, site: Site, sounds: SoundsFolder, *, model: str | None, recipe: str) -> None:
        self.site, self.sounds = site, sounds
        self._first = model
        self.fault: OSError | None = None
        if sounds.folder.exists():
            try:
                sounds.hold()
            except OSError as error:
                self.fault = error
        self.job = TrainingJob(sounds, recipe)
        self._lock = asyncio.Lock()
        self.rooms = Rooms(sounds.folder)
        self.room: dict[str, Any] | None = None
        self._own = site.hub.model.classifier  # with the thresholds that it came with
        if self.rooms.path(self._own).is_file():
            self._use(self._own)

    def _use(self, classifier: Classifier) -> None:
        """Use a model from now on, with the thresholds of its room where there are some.

        Raises:
            ModelError: it cannot be used, or its room was cut or edited.
        """
        kept = self.rooms.read(classifier)
        used = classifier if kept is None else classifier.with_calibration(kept[0])
        self.site.use(used)
        self._own, self.room = classifier, None if kept is None else kept[1]

    def state(self) -> dict[str, Any]:
        """Return what the page shows."""
        chosen = self.sounds.chosen
        status = dict(self.job.status)
        if status["state"] == "done":
            status["report"] = self.sounds.report(status["model"])
        return {
            "folder": self.sounds.folder.name,
            "labels": self.sounds.counts,
            "background": BACKGROUND,
            "undoable": self.sounds.undoable,
            "training": status,
            "used": chosen["used"],
            "before": chosen["before"],
            "room": self.room,
        }

    def judge(self, clip: str, label: str, group: str, start: float, seconds: float) -> int:
        """Keep a stretch of an event's clip under a label.

        Raises:
            RefusedError: the clip is not kept any more.
            OSError: it cannot be written.
        """
        path = self.site.clips.path(clip)
        if path is None:
            raise RefusedError("clip", "this clip is not kept any more", 404)
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            file.seek(min(file.frames, round(start * rate)))
            least = round(max(SHORTEST_SECONDS, seconds) * rate)
            samples: NDArray[np.int16] = file.read(least, dtype="int16")
        if not len(samples):
            raise RefusedError("time", "this stretch lies outside of the clip", 422)
        return self.sounds.add(samples, rate, label, group, event_clip=clip)

    def record(self, path: Path, name: str, label: str, group: str, *, recording: str = "") -> int:
        """Keep a recording that was sent under a label, or a piece of one; see `Step`.

        Raises:
            AudioError: it cannot be read.
            RefusedError: it is too long.
            OSError: it cannot be written.
        """
        rate = self.site.hub.model.scorer.sample_rate
        blocks = list(read_file(path, rate, name, MOST_RECORDING_SECONDS))
        samples = to_pcm(np.concatenate(blocks))
        return self.sounds.add(samples, rate, label, group, recording=recording)

    def take(self, name: str) -> None:
        """Use a model that was trained here; the one that was used can be taken back.

        Raises:
            RefusedError: there is no such model.
            ModelError: it cannot be used.
        """
        if not name.isdigit() or not self.sounds.model_path(name).is_file():
            raise RefusedError("model", "there is no such model", 404)
        self._use(Classifier.load(self.sounds.model_path(name)))
        self.sounds.choose(name, self.sounds.chosen["used"])
        self.job.forget()

    def take_back(self) -> None:
        """Use the model that was used before again.

        Raises:
            RefusedError: none was.
            ModelError: it cannot be used.
        """
        chosen = self.sounds.chosen
        if not chosen["used"]:
            raise RefusedError("model", "no model was taken here; there is none to go back to", 409)
        before = chosen["before"]
        self._use(Classifier.load(self.sounds.model_path(before) if before else self._first))
        self.sounds.choose(before, "")

    def fit_room(self, per_hour: float) -> dict[str, Any]:
        """Fit thresholds to the background that was recorded, and keep them; say what changed.

        Raises:
            RefusedError: none was recorded.
            EarmarkError: it is too short, or not background.
            OSError: they cannot be kept.
        """
        clips = self.sounds.of_label(BACKGROUND)
        if not clips:
            raise RefusedError("room", "record this room first, while nothing happens", 409)
        fit = self._own.calibrate(
            clips, false_alarms_per_hour=per_hour, settings=self.site.hub.settings
        )
        fitted = {
            "per_hour": per_hour,
            "before": round(fit.before.per_hour, 2),
            "after": round(fit.after.per_hour, 2),
            "minutes": round(60 * fit.hours, 1),
            "raised": {name: [round(a, 3), round(b, 3)] for name, (a, b) in fit.raised.items()},
            "notes": list(fit.notes),
        }
        self.rooms.write(self._own, fit.calibration, fitted)
        self._use(self._own)
        return fitted

    def leave_room(self) -> None:
        """Use the thresholds that the model came with again.

        Raises:
            RefusedError: they are used already.
        """
        if not self.rooms.remove(self._own):
            raise RefusedError("room", "the thresholds are the model's own already", 409)
        self._use(self._own)

    def old_model(self) -> str | None:
        """Return the model that is used now, as a process can load it."""
        used = self.sounds.chosen["used"]
        return str(self.sounds.model_path(used)) if used else self._first or "bundled"

    def close(self) -> None:
        """End what is running, and let go of the folder."""
        self.job.stop()
        self.sounds.release()


def add_teaching(app: FastAPI, teaching: Teaching) -> None:
    """Add the addresses of teaching."""
    site = teaching.site
    limits = site.access.limits

    @app.get("/api/teach")
    async def state() -> dict[str, Any]:
        """Say what was taught, and how a training goes."""
        return teaching.state()

    @app.post("/api/teach/verdicts", responses=_REFUSALS)
    async def judge(request: Request) -> dict[str, Any]:
        """Keep a stretch of an event's clip: `clip`, `label`, `group`, `start`, `seconds`."""
        value = await read_body(request, limits)
        label = _label(value.get("label"))
        await asyncio.to_thread(
            teaching.judge,
            text(value, "clip"),
            label,
            text(value, "group"),
            number(value, "start", 0.0, 3600.0),
            number(value, "seconds", 0.0, 60.0),
        )
        return teaching.state()

    @app.post("/api/teach/recordings", responses=_REFUSALS)
    async def record(
        request: Request, label: str, name: str = "recording", recording: str = ""
    ) -> dict[str, Any]:
        """Keep a recording under a label; its bytes are the body of the request.

        Pieces that say the same `recording` are taken back together.
        """
        wanted = _label(label)
        declared = request.headers.get("content-length", "")
        upload = await site.uploads.take(
            request.stream(), name[:300], int(declared) if declared.isdigit() else 0
        )
        try:
            group = f"{upload.name} {upload.id[:6]}"
            await asyncio.to_thread(
                teaching.record,
                upload.path,
                upload.name,
                wanted,
                group,
                recording=recording[:MOST_NAME],
            )
        finally:
            site.uploads.remove(upload.id)
        return teaching.state()

    @app.post("/api/teach/undo", responses=_REFUSALS)
    async def undo() -> dict[str, Any]:
        """Take the last verdict or recording back, and say which it was (`gone`)."""
        gone = await asyncio.to_thread(teaching.sounds.undo)
        if gone is None:
            raise RefusedError("undo", "there is nothing to take back", 409)
        label, clips = gone.verdicts[0].label, len(gone.verdicts)
        return {
            **teaching.state(),
            "gone": {"label": label, "clips": clips, "event_clip": gone.event_clip},
        }

    @app.post("/api/teach/train", responses=_REFUSALS)
    async def train() -> dict[str, Any]:
        """Begin a training of all verdicts."""
        refuse_untrainable(teaching.sounds)
        teaching.job.start(teaching.old_model())
        return teaching.state()

    @app.post("/api/teach/stop", responses=_REFUSALS)
    async def stop() -> dict[str, Any]:
        """End the training that is running."""
        await asyncio.to_thread(teaching.job.stop)
        return teaching.state()

    @app.post("/api/teach/model", responses=_REFUSALS)
    async def model(request: Request) -> dict[str, Any]:
        """Take a model that was trained (`take`: its name), leave it, or go back (`back`)."""
        value = await read_body(request, limits)
        async with teaching._lock:
            if value.get("back") is True:
                await asyncio.to_thread(teaching.take_back)
            elif value.get("leave") is True:
                teaching.job.forget()
            else:
                await asyncio.to_thread(teaching.take, text(value, "take"))
        return teaching.state()

    @app.post("/api/teach/room", responses=_REFUSALS)
    async def room(request: Request) -> dict[str, Any]:
        """Fit thresholds to the recorded background (`per_hour` false alarms), or go `back`."""
        value = await read_body(request, limits)
        async with teaching._lock:
            if value.get("back") is True:
                await asyncio.to_thread(teaching.leave_room)
            else:
                per_hour = number(value, "per_hour", 0.01, 1000.0)
                await asyncio.to_thread(teaching.fit_room, per_hour)
        return teaching.state()


def _label(value: Any) -> str:
    label = clean_label(value)
    if not label:
        raise RefusedError("label", "give the class a name first", 422)
    return label
