"""What a model, a result or a figure was made with: versions, time, commit, machine."""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path


def installed_versions() -> dict[str, str]:
    """Return the versions of Python, Earmark and the libraries that shape its numbers."""
    return dict(_versions())


@functools.cache  # asked for with every model that is written, each time ten milliseconds
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    names = ("earmark", "torch", "onnxruntime", "accelerate", "numpy", "soundfile", "soxr")
    for name in (*names, "scikit-learn"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append((name, importlib.metadata.version(name)))
    return tuple(found)


def now() -> str:
    """Return the present time, ISO 8601 in UTC, to the second."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def now_datetime() -> datetime.datetime:
    """Return the present time in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)


def commit() -> str:
    """Return the commit of Earmark's own checkout, empty when it is not one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # installed, perhaps inside the checkout of something else
        return ""
    words = ("describe", "--always", "--exclude=*", "--dirty", "--abbrev=12")
    command = ["git", "-C", str(root), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        return ""


def machine(device: str = "cpu", cores: int | None = None) -> str:
    """Say in words what computed: system, processor, cores (all of them, or some) and device."""
    used = f"{os.cpu_count()} cores" if cores is None else f"{cores} of {os.cpu_count()} cores"
    return f"{platform.system()} {platform.machine()}, {used}, {device}"


def how(command: str, cores: int | None = None) -> list[str]:
    """Return the lines that end a page of figures.

    Args:
        command: what made them.
        cores: how many of the machine's cores were used; None: all.
    """
    versions = ", ".join(f"{name} {number}" for name, number in installed_versions().items())
    return [
        f"- command: `{command}`",
        f"- machine: {machine(cores=cores)}",
        f"- commit: {commit() or 'unknown'}; {now()}",
        f"- versions: {versions}",
    ]
