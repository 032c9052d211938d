"""Files read by several threads at a time, their results in the order of the files.

Decoding, resampling, transforms and networks run outside Python's lock, so threads use the cores;
each has one file at a time, and all share the weights.

    with several(read, files, workers=4) as each:
        for file, results in each:      # in the order of the files
            for result in results:      # as they come; at their end the fault of the file, if any
                ...
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from earmark.config import Calibration
from earmark.errors import EarmarkError
from earmark.runtime.engine import Engine, Floats, State, joined, split_states

_AHEAD = 4  # files for each worker that may be read before their turn to be written

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores_here() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class StoppedError(EarmarkError):
    """The results are no longer waited for."""


class StoppableEngine:
    """Runs a model until it is told to stop, so that a long file does not outlast an interrupt.

    Args:
        engine: runs the model.
        stop: set where nobody waits any more.
    """

    def __init__(self, engine: Engine, stop: threading.Event) -> None:
        self._engine, self._stop, self.info = engine, stop, engine.info

    @property
    def embedding_size(self) -> int:
        """Numbers of an embedding; see `Engine`."""
        return self._engine.embedding_size

    def initial_state(self, window: int) -> State:
        """Return the state of a stream before its first sample; see `Engine`."""
        return self._engine.initial_state(window)

    def with_calibration(self, calibration: Calibration) -> StoppableEngine:
        """Return an engine of the same weights under another calibration; see `Engine`."""
        return StoppableEngine(self._engine.with_calibration(calibration), self._stop)

    def step(self, samples: Floats, states: Sequence[State]) -> tuple[Floats, Floats, list[State]]:
        """Score the next samples of one or more streams; see `Engine`."""
        scores, clip_scores, after = self.advance(samples, joined(states))
        return scores, clip_scores, split_states(after)

    def advance(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Score the next samples of streams in one batch; see `Engine`.

        Raises:
            StoppedError: nobody waits any more.
        """
        if self._stop.is_set():
            raise StoppedError("stopped")
        return self._engine.advance(samples, state)

    def score_whole(self, samples: Floats) -> Floats:
        """Return the probabilities of a whole clip; see `Engine`."""
        return self._engine.score_whole(samples)

    def embed(self, samples: Floats, state: State) -> tuple[Floats, Floats, State]:
        """Return what the head classifies, in place of the scores; see `Engine`."""
        return self._engine.embed(samples, state)

    def embed_whole(self, samples: Floats) -> Floats:
        """Return the embedding of a whole clip; see `Engine`."""
        return self._engine.embed_whole(samples)


class _Found(NamedTuple):
    """What a thread hands to the reader: a result, a warning to be shown, a fault, or the end."""

    result: Any = None
    warning: Callable[[], object] | None = None
    fault: BaseException | None = None
    ended: bool = False


_this_thread = threading.local()  # `found`: where its warnings go


class _Reading(Generic[Item, Result]):
    """One item and what is found in it: filled by a thread, read in another."""

    def __init__(self, item: Item, find: Callable[[Item], Iterator[Result]]) -> None:
        self.item, self._find = item, find
        self._found: SimpleQueue[_Found] = SimpleQueue()

    def fill(self) -> None:
        """Find all results, and then the end, or a fault."""
        _this_thread.found = self._found
        try:
            for result in self._find(self.item):
                self._found.put(_Found(result))
            self._found.put(_Found(ended=True))
        except BaseException as fault:  # raised where the results are read
            self._found.put(_Found(fault=fault))

    def results(self) -> Iterator[Result]:
        """Yield the results as they are found; warnings and the fault come in their place."""
        while not (found := self._found.get()).ended:
            if found.fault is not None:
                raise found.fault
            if found.warning is not None:
                found.warning()
            else:
                yield found.result


@contextlib.contextmanager
def _warnings_in_their_place() -> Iterator[None]:
    """Show the warnings of an item where its results are read, and not when they come up."""
    show = warnings.showwarning

    def keep(*words: Any, **options: Any) -> None:
        found = getattr(_this_thread, "found", None)
        if found is None:
            show(*words, **options)
        else:
            found.put(_Found(warning=functools.partial(show, *words, **options)))

    warnings.showwarning = keep
    try:
        yield
    finally:
        warnings.showwarning = show


@contextlib.contextmanager
def several(
    find: Callable[[Item], Iterator[Result]],
    items: Iterable[Item],
    *,
    workers: int,
    stop: threading.Event,
) -> Iterator[Iterator[tuple[Item, Iterator[Result]]]]:
    """Find the results of several items at a time.

    A few items for each worker are taken ahead of what is read, so memory does not grow with their
    number. With one worker nothing runs beside the reader.

    Args:
        find: gives the results of an item; called in several threads.
        items: what is read, in order.
        workers: how many at a time.
        stop: set on leaving; `find` should then end soon.

    Yields:
        Each item with its results, in order. The results of one must be read before the next;
        warnings are shown among them.
    """
    if workers == 1:
        yield ((item, find(item)) for item in items)
        return
    threads = ThreadPoolExecutor(workers, thread_name_prefix="earmark")
    with _warnings_in_their_place():
        try:
            yield _in_order(threads, find, items, most=_AHEAD * workers)
        finally:
            stop.set()
            threads.shutdown(cancel_futures=True)


def _in_order(
    threads: ThreadPoolExecutor,
    find: Callable[[Item], Iterator[Result]],
    items: Iterable[Item],
    *,
    most: int,
) -> Iterator[tuple[Item, Iterator[Result]]]:
    waiting: deque[_Reading[Item, Result]] = deque()
    for item in items:
        if len(waiting) == most:
            first = waiting.popleft()
            yield first.item, first.results()
        reading = _Reading(item, find)
        threads.submit(reading.fill)
        waiting.append(reading)
    for reading in waiting:
        yield reading.item, reading.results()
