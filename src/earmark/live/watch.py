"""What is suspicious in a live source, and a mix of its channels that does not cancel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.io.levels import Levels, Mixer, rate_note, refuse_rate, refuse_scale
from earmark.io.waveform import floats
from earmark.live.chunk import Chunk

_SCALE = (
    "scale them: ffmpeg -f f32le -ar {rate} -i - -af volume=1/{scale} -f wav - | earmark stream -"
)


class Watch:
    """Mixes chunks of a live source down and says once each what is suspicious.

    A file is judged a second at a time before the second is mixed. A live source is not kept
    waiting: how a second is mixed follows from the seconds before it.

    Args:
        name: of the source, for messages.
        needed: the sample rate that the model needs, in Hz.
        levels: look at how loud it is, for `end`.

    Attributes:
        finite: whether all samples of the last chunk were numbers.
    """

    def __init__(self, name: str, needed: int, *, levels: bool = True) -> None:
        self._name, self._needed = name, needed
        self._levels = Levels() if levels else None
        self.finite = True
        self._mixer: Mixer | None = None
        self._second: list[NDArray[np.float32]] = []
        self._said: set[str] = set()
        self._rates: set[int] = set()

    def mix(self, chunk: Chunk) -> NDArray[np.float32]:
        """Return the samples of a chunk as `(samples,)`, full scale at -1 to 1.

        Raises:
            AudioError: they are far beyond full scale, or of a type or rate that is not known.
        """
        refuse_rate(self._name, chunk.sample_rate)
        values = floats(chunk.samples, self._name)
        whole = chunk.samples.dtype.kind == "i"  # and neither odd nor beyond full scale
        self.finite = whole or bool(np.isfinite(values).all())
        if self.finite and not whole:
            remedy = _SCALE.replace("{rate}", str(chunk.sample_rate))
            refuse_scale(values, self._name, remedy)
        mixer = self._mixer
        if mixer is None or mixer.sample_rate != chunk.sample_rate:
            self._mixer = mixer = Mixer(chunk.sample_rate)
            self._second = []
        self._rates.add(chunk.sample_rate)
        if not self.finite:  # the caller says what becomes of it
            with np.errstate(invalid="ignore", over="ignore"):
                return np.asarray(values.mean(axis=1))
        if self._second and self._second[-1].shape[1] != values.shape[1]:
            self._second = []
        mixed = mixer.mix_as_before(values)
        if self._levels is None and values.shape[1] == 1:  # nothing that a second tells
            return mixed
        self._second.append(values)
        if sum(map(len, self._second)) >= chunk.sample_rate:
            second = np.concatenate(self._second)
            mixer.judge(second)
            if self._levels is not None:
                self._levels.add(second, chunk.sample_rate)
            self._second = []
        return mixed

    def notes(self) -> list[str]:
        """Return what has become suspicious since the last call, a line each."""
        lines = [rate_note(rate, self._needed) for rate in sorted(self._rates)]
        if self._mixer is not None and self._mixer.one_channel:
            lines.append(
                "its channels cancel when they are mixed; the louder one alone is used; check the "
                "cable"
            )
        return self._new(lines)

    def end(self) -> list[str]:
        """Return what is suspicious in all of it, a line each."""
        return self._new(self._levels.notes() if self._levels is not None else [])

    def _new(self, lines: list[str]) -> list[str]:
        fresh = [line for line in lines if line and line not in self._said]
        self._said.update(fresh)
        return [f"{self._name}: {line}" for line in fresh]
