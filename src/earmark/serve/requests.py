"""Bodies of requests: JSON under a limit, and the values in it; how a refusal is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from earmark.serve.settings import Limits, RefusedError

_MOST_TEXT = 200


async def parts_of(body: AsyncIterator[bytes], seconds: float, name: str) -> AsyncIterator[bytes]:
    """Yield the parts of a body as they come.

    Args:
        body: of a request.
        seconds: the longest wait for the next part.
        name: what is sent, for the message.

    Raises:
        RefusedError: nothing came for so long.
    """
    iterator = body.__aiter__()
    while True:
        try:
            part = await asyncio.wait_for(iterator.__anext__(), timeout=seconds)
        except StopAsyncIteration:
            return
        except (asyncio.TimeoutError, TimeoutError):
            raise RefusedError(
                "slow", f"{name}: nothing came for a while; send it again", 408
            ) from None
        yield part


async def read_json(request: Request, most: int, seconds: float) -> Any:
    """Return the body of a request as JSON.

    Args:
        request: the request.
        most: bytes of its body.
        seconds: the longest wait for the next part of it.

    Raises:
        RefusedError: it is larger than `most` bytes, stands still, or is no JSON.
    """
    body = bytearray()
    async for part in parts_of(request.stream(), seconds, "the request"):
        body += part
        if len(body) > most:
            raise RefusedError("size", f"the request is larger than {most} bytes", 413)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError("message", "the request is not valid JSON") from None


async def read_body(request: Request, limits: Limits) -> dict[str, Any]:
    """Return the body of a request as a JSON object.

    Raises:
        RefusedError: see `read_json`; or it is no object.
    """
    value = await read_json(request, limits.control_bytes, limits.body_seconds)
    if not isinstance(value, dict):
        raise RefusedError("message", "the request is no JSON object")
    return value


def text(value: dict[str, Any], name: str) -> str:
    """Return a text of a request.

    Raises:
        RefusedError: it is none, or too long.
    """
    found = value.get(name)
    if not isinstance(found, str) or len(found) > _MOST_TEXT or not found.isprintable():
        raise RefusedError("message", f"{name} is a short text", 422)
    return found


def number(value: dict[str, Any], name: str, low: float, high: float) -> float:
    """Return a number of a request.

    Raises:
        RefusedError: it is none, or out of range.
    """
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise RefusedError("message", f"{name} is a number", 422)
    if not low <= found <= high:
        raise RefusedError("message", f"{name} lies from {low:g} to {high:g}", 422)
    return float(found)


async def refused(_: Request, error: Exception) -> JSONResponse:
    """Answer a request that was refused."""
    status = error.status if isinstance(error, RefusedError) else 400
    code = error.code if isinstance(error, RefusedError) else "request"
    return JSONResponse({"code": code, "error": str(error)}, status)


async def left(_: Request, __: Exception) -> Response:
    """Answer a client that has gone, which is no fault of the server's."""
    return Response(status_code=400)


async def faulty(_: Request, error: Exception) -> JSONResponse:
    """Answer a request that failed for what it asked about."""
    return JSONResponse({"code": "audio", "error": str(error)}, 422)


async def unkept(_: Request, error: Exception) -> JSONResponse:
    """Answer a request that failed at the server's disk."""
    cause = (getattr(error, "strerror", None) or str(error)).lower()
    text = f"a file of the server could not be read or written ({cause})"
    return JSONResponse({"code": "storage", "error": text}, 507)
