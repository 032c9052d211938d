"""Arrays of samples -> mono at full scale 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.errors import AudioError
from earmark.io.channels import MOST_CHANNELS
from earmark.io.levels import (
    Levels,
    Mixer,
    cancelled_note,
    rate_note,
    refuse_rate,
    refuse_scale,
    widened,
)
from earmark.io.notes import Notes, Warn

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mono(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Mix samples down to float32 `(samples,)`, full scale at -1 to 1.

    Args:
        samples: `(samples,)` or `(samples, channels)` with at most `MOST_CHANNELS`; floats with
            full scale at -1 to 1, or signed whole numbers with full scale at the ends of their
            type, as int16.
        name: where they come from, for the message.

    Raises:
        AudioError: another shape or type, NaN or infinite samples, or floats far beyond 1.
    """
    values = floats(samples, name)
    with np.errstate(invalid="ignore", over="ignore"):  # refused just below
        mixed = values[:, 0] if values.shape[1] == 1 else values.mean(axis=1)
    _refuse_odd(values, mixed, name)
    return np.ascontiguousarray(mixed)


def mono_recording(
    samples: NDArray[Any], sample_rate: int, name: str, *, needed: int, warn: Warn | None = None
) -> NDArray[np.float32]:
    """Mix a whole recording down as `read_blocks` does, and say what is suspicious in it.

    Args:
        samples: see `mono`.
        sample_rate: of the samples, in Hz.
        name: where they come from, for messages.
        needed: the sample rate that the model needs, in Hz.
        warn: see `read_blocks`.

    Returns:
        Samples `(samples,)` at `sample_rate`.

    Raises:
        AudioError: see `mono`; or a rate that is not supported.
    """
    refuse_rate(name, sample_rate)
    values = floats(samples, name)
    mixer, levels, say = Mixer(sample_rate), Levels(), Notes(name, warn)
    with np.errstate(invalid="ignore", over="ignore"):
        mixed = mixer.mix(values)
    _refuse_odd(values, mixed, name)
    levels.add(values, sample_rate)
    whole = np.asarray(samples)
    if widened(whole):
        say.one(
            f"holds whole numbers of {8 * whole.dtype.itemsize} bits that all fit 16 bits, and is "
            "read as very quiet; if they were int16 once: samples.astype('int16')"
        )
    say.one(rate_note(sample_rate, needed))
    say.one(cancelled_note(mixer.cancelled))
    say.all(levels.notes())
    return mixed


def floats(samples: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return samples as float32 `(samples, channels)`, full scale at -1 to 1.

    Raises:
        AudioError: another shape or type.
    """
    raw = np.asarray(samples)
    whole = raw.dtype.kind == "i"
    if not whole and raw.dtype.kind != "f":
        raise AudioError(f"{name}: has samples of type {raw.dtype}; float32 or int16 is needed")
    if raw.ndim not in (1, 2) or (raw.ndim == 2 and not 1 <= raw.shape[1] <= MOST_CHANNELS):
        raise AudioError(
            f"{name}: has shape {raw.shape}; (samples,) or (samples, channels) is needed"
        )
    with np.errstate(over="ignore"):  # infinite, and refused
        values = raw.astype(np.float32)
    if whole:
        values /= -float(np.iinfo(raw.dtype).min)
    return values if values.ndim == 2 else values[:, None]


def _refuse_odd(values: NDArray[np.float32], mixed: NDArray[np.float32], name: str) -> None:
    if not np.isfinite(mixed).all():
        raise AudioError(f"{name}: holds NaN or infinite samples")
    refuse_scale(values, name, "divide them by {scale}")
