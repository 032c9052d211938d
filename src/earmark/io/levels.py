"""What is legal but suspicious in samples, and a mix of channels that does not cancel.

A cable with one inverted channel, samples never divided by 32768, a gain that was set too low or
too high: nothing of it is a fault of a file, and all of it spoils what a model says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.config.front_end import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from earmark.errors import AudioError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FULL_SCALE_LIMIT = 8.0  # a lossy coder passes 1 a little; 8 is 18 dB above it
QUIET_DB = -60.0
CLIPPED_SHARE = 0.01
LOW_RATE_SHARE = 0.5  # of the rate that the model needs
CANCELLED_DB, AGREED_DB = 20.0, 6.0
_CLIPPED = 0.9999  # of full scale; 32767 of 32768 is 0.99997
_CLIPPED_COARSE = 0.98  # of 8 bits, mu-law and A-law, whose highest value is lower
_SCALES = (2**7, 2**15, 2**23, 2**31)
_COARSE = frozenset(["PCM_U8", "PCM_S8", "ULAW", "ALAW", "DPCM_8"])


class Mixer:
    """Mixes channels down to one, a second at a time; what cancels is not mixed.

    Where the mean of the channels is 20 dB below the channels themselves, one of them is inverted,
    and the louder one is taken, until a second comes in which the mean is within 6 dB again.

    Args:
        sample_rate: samples in a second.

    Attributes:
        cancelled: seconds in which one channel was taken.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._channel: int | None = None
        self.cancelled = 0.0

    @property
    def one_channel(self) -> bool:
        """Whether one channel is taken at present, in place of the mean."""
        return self._channel is not None

    def mix(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mix `(samples,)` of samples `(samples, channels)`.

        The samples begin with a second of the recording: give whole seconds, but for the last.
        """
        if samples.shape[1] == 1:
            return np.ascontiguousarray(samples[:, 0])
        mixed: NDArray[np.float32] = samples.mean(axis=1)
        for start in range(0, len(samples), self.sample_rate):
            stop = start + self.sample_rate
            self._judge(samples[start:stop], mixed[start:stop])
            if self._channel is not None:
                mixed[start:stop] = samples[start:stop, self._channel]
                self.cancelled += len(samples[start:stop]) / self.sample_rate
        return np.ascontiguousarray(mixed)

    def mix_as_before(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the mix of samples as the last second was judged, of any length."""
        if samples.shape[1] == 1:
            return np.ascontiguousarray(samples[:, 0])
        if self._channel is not None and self._channel < samples.shape[1]:
            return np.ascontiguousarray(samples[:, self._channel])
        mixed: NDArray[np.float32] = samples.mean(axis=1)
        return mixed

    def judge(self, samples: NDArray[np.float32]) -> None:
        """Find out from a second of samples whether its channels cancel."""
        if samples.shape[1] > 1:
            self._judge(samples, samples.mean(axis=1))

    def _judge(self, part: NDArray[np.float32], mixed: NDArray[np.float32]) -> None:
        energies = np.array([np.dot(one, one) for one in part.T], np.float64)
        loudest = int(energies.argmax())
        if not energies[loudest] > len(part) * 10 ** (QUIET_DB / 10):
            return  # too quiet to judge
        left = max(float(np.dot(mixed, mixed)), 1e-30)
        lost_db = 10 * np.log10(energies.mean() / left)
        if self._channel is None and lost_db > CANCELLED_DB:
            self._channel = loudest
        elif self._channel is not None and lost_db < AGREED_DB:
            self._channel = None


class Levels:
    """Watches the samples of one recording and says at its end what is suspicious."""

    def __init__(self) -> None:
        self._samples = self._clipped = 0
        self._loudest = 0.0

    def add(self, samples: NDArray[np.float32], sample_rate: int, *, coding: str = "") -> None:
        """Look at samples `(samples, channels)`; whole seconds, but for the last.

        Args:
            samples: the next ones.
            sample_rate: samples in a second.
            coding: libsndfile's name of how they were stored.
        """
        limit = _CLIPPED_COARSE if coding in _COARSE else _CLIPPED
        if peak_of(samples) >= limit:
            self._clipped += int(np.count_nonzero(np.abs(samples) >= limit))
        self._samples += samples.size
        if self._loudest < 10 ** (QUIET_DB / 10):
            for start in range(0, len(samples), sample_rate):
                part = samples[start : start + sample_rate].ravel()
                power = float(np.dot(part, part)) / max(1, len(part))
                self._loudest = max(self._loudest, power)

    def notes(self) -> list[str]:
        """Return what is suspicious, a line each."""
        found = []
        if 0 < self._loudest < 10 ** (QUIET_DB / 10):
            level = 10 * np.log10(self._loudest)
            found.append(
                f"is very quiet, its loudest second is at {level:.0f} dB of full scale; raise the "
                "gain, or record 16 bits (arecord -f S16_LE)"
            )
        if self._clipped > CLIPPED_SHARE * self._samples:
            share = 100 * self._clipped / self._samples
            found.append(
                f"is clipped, {share:.0f} % of its samples are at full scale; lower the gain"
            )
        return found


def refuse_rate(name: object, rate: int) -> None:
    """Refuse a sample rate that no model can be given.

    Raises:
        AudioError: it is outside the supported range.
    """
    if not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
        raise AudioError(
            f"{name}: has a sample rate of {rate} Hz, outside the supported "
            f"{LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz; resample it first"
        )


def peak_of(samples: NDArray[np.float32]) -> float:
    """Return the largest size of a sample."""
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


def refuse_scale(samples: NDArray[np.float32], name: str, remedy: str) -> None:
    """Refuse samples that are far beyond full scale, as where they were never divided by 32768.

    Args:
        samples: of any shape.
        name: where they come from.
        remedy: what helps, in which `{scale}` is what they are to be divided by.

    Raises:
        AudioError: one of them is beyond 8.
    """
    peak = peak_of(samples)
    if peak > FULL_SCALE_LIMIT:
        scale = next((scale for scale in _SCALES if peak <= 1.01 * scale), _SCALES[-1])
        raise AudioError(
            f"{name}: holds samples up to {peak:.0f} where full scale is 1; they were never "
            f"divided by {scale}; " + remedy.replace("{scale}", str(scale))
        )


def cancelled_note(seconds: float) -> str:
    """Say for how long one channel was taken alone, or nothing."""
    if not seconds:
        return ""
    return (
        "its channels cancel when they are mixed; the louder one alone was used for "
        f"{seconds:.1f} s; check the cable"
    )


def rate_note(has: int, needs: int) -> str:
    """Say what a sample rate far below the model's costs, or nothing."""
    if has >= LOW_RATE_SHARE * needs:
        return ""
    return (
        f"has a sample rate of {has} Hz, the model {needs} Hz: nothing above {has // 2} Hz is in "
        "it, and scores are less certain"
    )


def widened(samples: NDArray[Any]) -> bool:
    """Tell whether whole numbers of 32 or 64 bits all fit 16 bits, as after arithmetic on int16."""
    if samples.dtype.kind != "i" or samples.dtype.itemsize <= 2 or not samples.size:
        return False
    low, high = int(samples.min()), int(samples.max())
    return (low, high) != (0, 0) and low >= -(2**15) and high < 2**15
