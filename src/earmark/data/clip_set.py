"""The features and labels of some clips: in memory, or views on the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.data.frames import ClipFrames
from earmark.data.negatives import NO_CLASS


@dataclass(frozen=True)
class ClipSet:
    """The features and labels of some clips.

    Attributes:
        features: all frames of all clips, one after the other, `(total frames, input_size)`; an
            array, or views on the cache.
        frames: frames of each clip, `(clips,)`, at least 1.
        labels: class numbers, `(clips,)`; `NO_CLASS`, -1, for clips of no class.
        paths: each clip's file, or a name where it has none.
        groups: each clip's source recording.
        digests: SHA-256 of each clip's file; empty where there are no files.
    """

    features: NDArray[np.float32] | ClipFrames
    frames: NDArray[np.int64]
    labels: NDArray[np.int64]
    paths: Sequence[str]
    groups: Sequence[str]
    digests: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def of_class(self) -> NDArray[np.bool_]:
        """True for the clips that have a class, `(clips,)`; False for negatives."""
        return self.labels != NO_CLASS

    @property
    def starts(self) -> NDArray[np.int64]:
        """The first frame of each clip in `features`, `(clips,)`."""
        return np.cumsum(self.frames) - self.frames

    def clip(self, index: int) -> NDArray[np.float32]:
        """Return the frames of one clip, `(frames, input_size)`."""
        if isinstance(self.features, ClipFrames):
            return self.features.clip(index)
        start = int(self.starts[index])
        return self.features[start : start + int(self.frames[index])]

    def clips(self) -> Iterator[NDArray[np.float32]]:
        """Yield the frames of each clip, `(frames, input_size)`, to be read and not kept."""
        if isinstance(self.features, ClipFrames):
            yield from self.features.clips()
        else:
            yield from np.split(self.features, self.starts[1:])

    def gather(self, chosen: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return frames `(batch, frames, input_size)` at some places of the chosen clips.

        Args:
            chosen: clip numbers `(batch,)`.
            places: numbers of frames within each clip, `(batch, frames)`.
        """
        if isinstance(self.features, ClipFrames):
            return self.features.gather(chosen, places)
        return self.features[self.starts[chosen][:, None] + places]

    def together(self) -> NDArray[np.float32]:
        """Return all frames as one array in memory, `(total frames, input_size)`."""
        return self.features.together() if isinstance(self.features, ClipFrames) else self.features

    def select(self, mask: NDArray[np.bool_]) -> ClipSet:
        """Return the clips where `mask` is True."""
        chosen = np.flatnonzero(mask).tolist()
        if isinstance(self.features, ClipFrames):
            features: NDArray[np.float32] | ClipFrames = self.features.select(chosen)
        else:
            features = self.features[np.repeat(mask, self.frames)]
        return ClipSet(
            features,
            self.frames[chosen],
            self.labels[chosen],
            [self.paths[i] for i in chosen],
            [self.groups[i] for i in chosen],
            [self.digests[i] for i in chosen] if self.digests else (),
        )
