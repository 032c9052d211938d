"""The page's review of an archive: clips of each class, verdicts into their table, precision."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from earmark import __version__
from earmark.archive import samples
from earmark.archive.verdicts import NO, YES, VerdictTable, precisions
from earmark.errors import EarmarkError
from earmark.io.decode import read
from earmark.serve.app import STATIC
from earmark.serve.requests import faulty, left, number, read_body, refused, text, unkept
from earmark.serve.settings import Access, RefusedError

_PAGE = "review.html"
_REFUSALS: dict[int | str, dict[str, Any]] = {400: {}, 404: {}, 413: {}, 422: {}}


def make_review(table: VerdictTable, access: Access, done: Callable[[], None]) -> FastAPI:
    """Return the application.

    Args:
        table: takes the verdicts.
        access: who may come.
        done: is called when the user has done.
    """
    app = FastAPI(
        title="Earmark", version=__version__, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(EarmarkError, faulty)
    app.add_exception_handler(OSError, unkept)
    app.add_exception_handler(ClientDisconnect, left)

    @app.get("/")
    async def page() -> Response:
        """Return the page."""
        return FileResponse(STATIC / _PAGE)

    @app.get("/api/review")
    async def state() -> dict[str, Any]:
        """Say what there is to judge, and what was judged."""
        return {
            "folder": table.folder.absolute().name,
            "clips": [_clip(number, row) for number, row in enumerate(table.rows)],
            "precision": _precision(table),
        }

    @app.post("/api/review/verdicts", responses=_REFUSALS)
    async def judge(request: Request) -> dict[str, Any]:
        """Keep a verdict: `clip`, `verdict` (yes, no or nothing), `true_label`."""
        value = await read_body(request, access.limits)
        verdict = text(value, "verdict")
        if verdict not in (YES, NO, ""):
            raise RefusedError("message", "verdict is yes, no or nothing", 422)
        clip = round(number(value, "clip", 0, max(0, len(table.rows) - 1)))
        await asyncio.to_thread(table.judge, clip, verdict, text(value, "true_label"))
        return {"precision": _precision(table)}

    @app.post("/api/review/done")
    async def end() -> dict[str, Any]:
        """End the review."""
        done()
        return {}

    @app.get("/clips/{clip}", responses=_REFUSALS)
    async def sound(clip: int) -> Response:
        """Return a clip, as loud as it can be."""
        kind, data = await asyncio.to_thread(lambda: samples.sound(_read(table, clip)))
        return Response(data, media_type=kind)

    @app.get("/pictures/{clip}", responses=_REFUSALS)
    async def picture(clip: int) -> Response:
        """Return a clip as a spectrogram."""
        data = await asyncio.to_thread(lambda: samples.spectrogram(_read(table, clip)))
        return Response(data, media_type="image/png")

    app.mount("/", StaticFiles(directory=STATIC), name="page")
    return app


def _read(table: VerdictTable, number: int) -> Any:
    """Return the samples of a clip.

    Raises:
        RefusedError: there is none.
        AudioError: it cannot be read.
    """
    folder = table.folder.resolve()
    if not 0 <= number < len(table.rows):
        raise RefusedError("clip", "there is no such clip", 404)
    path = (folder / Path(table.rows[number]["path"])).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        raise RefusedError("clip", "this clip is not there any more", 404)
    return read(path, samples.RATE, allow_silence=True, warn=lambda _: None)


def _clip(number: int, row: dict[str, str]) -> dict[str, Any]:
    """Return what the page shows of a row. The score is left out, so that it sways nobody."""
    return {
        "id": number,
        "label": row["label"],
        "recording": Path(row.get("group") or "").name,
        "onset": float(row.get("onset_seconds") or 0),
        "start": row.get("start_utc") or "",
        "verdict": row["verdict"],
        "true_label": row.get("true_label") or "",
    }


def _precision(table: VerdictTable) -> list[dict[str, Any]]:
    return [
        {
            "label": one.label,
            "threshold": one.threshold,
            "judged": one.judged,
            "right": one.right,
            "low": round(one.low, 4),
            "high": round(one.high, 4),
        }
        for one in precisions(table.rows)
    ]
