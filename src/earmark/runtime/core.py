"""A stream without what runs its model: samples in, blocks out; scores in, events out.

    core.feed(samples)
    while (block := core.next_block()) is not None:
        events = core.accept(whatever_scores(block))

A stream that is over sooner than the front end's `min_clip_seconds` is followed by silence up to
that length, as a clip is, or its sound would not be found; its events lie within what came.

What drives it decides where and when blocks are scored: `Session` does it alone, `SessionPool` for
many streams together. Nothing here reads a file, waits, or runs a network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.config import EventSettings
from earmark.config.front_end import HIGHEST_SAMPLE_RATE, LOWEST_SAMPLE_RATE
from earmark.errors import AudioError
from earmark.io import waveform
from earmark.io.resample import Resampler
from earmark.runtime.engine import Floats
from earmark.runtime.events import Event, EventFinder
from earmark.runtime.scorer import StreamScorer


class StreamCore:
    """Takes the samples of one stream and the scores of its blocks.

    Args:
        scorer: says how blocks are cut; streams share it.
        sample_rate: sample rate of the stream.
        settings: how scores become events.
        source: name of the stream, for its events and messages.

    Raises:
        AudioError: a rate that is not supported.
    """

    def __init__(
        self,
        scorer: StreamScorer,
        sample_rate: int,
        settings: EventSettings,
        source: str = "stream",
    ) -> None:
        info = scorer.info
        self.classes, self.source, self.settings = info.classes, source, settings
        self.scorer = scorer
        self.finder = EventFinder(
            info.classes,
            info.calibration.thresholds,
            scorer.step_seconds,
            settings,
            info.fingerprint,
        )
        self._resampler = self._resampler_from(sample_rate)
        self._waiting: list[Floats] = []
        self._waiting_samples = 0
        self._events = self.finder.initial_state()
        self._ended = False
        self._length: int | None = None  # samples that came, where silence follows them
        self._rows: list[Floats] = []
        self._last: Floats | None = None
        self._smooth: Floats | None = None  # averages of the last block's scores

    @property
    def sample_rate(self) -> int:
        """Sample rate of what comes in."""
        return self._resampler.from_hz

    @property
    def under_way(self) -> list[Event]:
        """The events that have begun for sure and not ended, as far as they are known."""
        return self.finder.under_way(self._events, self.source)

    @property
    def seconds(self) -> float:
        """Length of what came so far."""
        if self._length is not None:
            return self._length / self.scorer.sample_rate
        waiting = self._waiting_samples / self.scorer.sample_rate
        return self._events.steps * self.scorer.step_seconds + waiting

    @property
    def steps(self) -> int:
        """Steps of the model that were scored so far."""
        return self._events.steps

    @property
    def rows(self) -> Floats:
        """The scores since the last samples came, `(steps, classes)`, a row for each segment."""
        return np.concatenate([np.zeros((0, len(self.classes)), np.float32), *self._rows])

    @property
    def scores(self) -> dict[str, float]:
        """The latest scores by class, most likely first; empty before the first."""
        if self._last is None:
            return {}
        pairs = zip(self.classes, self._last.tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    @property
    def active_now(self) -> list[str]:
        """The classes with an event under way, for those who cannot wait for its end."""
        ongoing, latest = self._events.ongoing, self._events.steps - 1
        return [
            self.classes[number] for number in sorted(ongoing) if ongoing[number].last == latest
        ]

    @property
    def ready(self) -> int:
        """Whole blocks that wait to be scored."""
        return self._waiting_samples // self.scorer.block_samples

    def feed(self, samples: NDArray[Any], sample_rate: int | None = None) -> int:
        """Take the next samples.

        Args:
            samples: `(samples,)` or `(samples, channels)`, any number, none included; floats with
                full scale at -1 to 1, or signed whole numbers with full scale at their ends.
            sample_rate: their sample rate, when it has changed.

        Returns:
            The number of blocks that are ready.

        Raises:
            AudioError: NaN or infinite samples, another shape or type, a rate that is not
                supported, or a stream that has ended. The stream is as it was before.
        """
        return self.feed_mono(
            waveform.mono(samples, f"{self.source}, after {self.seconds:.1f} s"), sample_rate
        )

    def feed_mono(self, mono: Floats, sample_rate: int | None = None) -> int:
        """Take the next samples, as `feed` does, without a look at them.

        Args:
            mono: `(samples,)`, float32, finite, full scale at -1 to 1; it is kept, not copied.
            sample_rate: see `feed`.
        """
        if self._ended:
            raise AudioError(f"{self.source}: has ended; begin another stream")
        if sample_rate is not None and sample_rate != self.sample_rate:
            following = self._resampler_from(sample_rate)
            self._wait(self._resampler.finish())
            self._resampler = following
        self._wait(self._resampler.push(mono))
        self._rows.clear()
        return self.ready

    def end(self) -> None:
        """End the stream. What the resampler still held, and a last part of a block, are ready."""
        if not self._ended:
            self._wait(self._resampler.finish())
            self._fill()
            self._rows.clear()
            self._ended = True

    def next_block(self) -> Floats | None:
        """Return the next block `(samples,)` to score, or None; each is returned once.

        After `end` the last one holds the whole steps that are left; what does not fill a step is
        not scored.
        """
        size = self.scorer.block_samples
        if self._waiting_samples < size:
            step = self.scorer.info.step_samples
            size = self._waiting_samples // step * step
            if not self._ended or size == 0:
                return None
        if len(self._waiting) > 1:
            self._waiting = [np.concatenate(self._waiting)]
        samples = self._waiting[0]
        self._waiting, self._waiting_samples = [samples[size:]], len(samples) - size
        return samples[:size]

    def accept(self, scores: Floats) -> list[Event]:
        """Take the scores of the next block, `(steps, classes)`; return the events that ended."""
        self._rows.append(scores)
        self._last = scores[-1]
        self._smooth, recent = self.finder.smooth(scores, self._events)
        events, self._events = self.finder.follow(
            self._smooth, recent, self._events, source=self.source
        )
        return self._within(events)

    def end_events(self) -> list[Event]:
        """Return the events that were under way when the stream ended, each once."""
        events = self.finder.finish(self._events, self.source)
        self._events = self._events.without_events()
        return self._within(events)

    def _fill(self) -> None:
        """Put silence after a stream that is over too soon."""
        info = self.scorer.info
        came = self._events.steps * info.step_samples + self._waiting_samples
        least = round(info.front_end.min_clip_seconds * info.sample_rate)
        if 0 < came < least:
            self._length = came
            self._wait(np.zeros(least - came, np.float32))

    def _within(self, events: list[Event]) -> list[Event]:
        """Return events as far as they lie in what came, not in the silence after it."""
        if self._length is None:
            return events
        end = self.seconds
        latest = max(0.0, end - self.scorer.step_seconds)
        return [
            replace(event, onset=min(event.onset, latest), offset=min(event.offset, end))
            for event in events
        ]

    def _wait(self, samples: Floats) -> None:
        if len(samples):
            self._waiting.append(samples)
            self._waiting_samples += len(samples)

    def _resampler_from(self, sample_rate: int) -> Resampler:
        if not LOWEST_SAMPLE_RATE <= sample_rate <= HIGHEST_SAMPLE_RATE:
            raise AudioError(f"{self.source}: has an unsupported sample rate of {sample_rate} Hz")
        return Resampler(sample_rate, self.scorer.sample_rate)
