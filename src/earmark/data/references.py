"""References of split files: the clips of a split by the content of their files.

A split file that holds references names each clip by the SHA-256 of its file. Its frames come from
the cache, and where that has them no longer, from the audio again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from earmark.config import FrontEndSettings
from earmark.data.cache.store import FeatureCache
from earmark.data.extract import extract_clips
from earmark.data.frames import View, as_view
from earmark.data.readers import Clip
from earmark.errors import SplitError

Watch = Callable[[Iterable[object], int], Iterable[object]]
_DIGEST = re.compile(r"[0-9a-f]{64}")


def find_frames(
    digests: Sequence[str],
    paths: Sequence[str],
    settings: FrontEndSettings,
    *,
    folder: Path,
    cache: FeatureCache,
    watch: Watch,
    remark: Callable[[str], object],
) -> list[View]:
    """Return the frames of clips, from the cache or made again.

    Args:
        digests: SHA-256 of each clip's file.
        paths: the files, as they were called from `folder`.
        settings: the front end.
        folder: the folder in which the split was written.
        cache: where frames are looked for and kept.
        watch: wraps the iteration over clips that are decoded, to show a bar.
        remark: takes a line about a cache that cannot be written, or is too small.

    Raises:
        SplitError: a digest is none, or the audio of a clip that is not in the cache is missing,
            unreadable, or another than it was.
    """
    if odd := [digest for digest in digests if not _DIGEST.fullmatch(digest)]:
        raise SplitError(f"refers to a clip by {odd[0][:80]!r}, which is no SHA-256")
    shelf = cache.shelf(settings)
    views = {d: stored.frames for d in set(digests) if (stored := shelf.find(d))}
    missing = {d: p for d, p in zip(digests, paths, strict=True) if d not in views}
    shelf.finish()
    if not missing:
        return [views[digest] for digest in digests]
    clips = [Clip(folder / path, None, digest) for digest, path in missing.items()]
    readable, failures = extract_clips(
        clips, settings, lambda results: watch(results, len(clips)), cache=cache, remark=remark
    )
    for item in readable:
        if item.digest == item.clip.group:
            views[item.digest] = as_view(item.frames)
        else:
            failures.append(f"{item.clip.path}: is another recording than it was")
    if failures:
        raise SplitError(
            f"refers to features that the cache in {cache.folder} does not hold, and "
            f"{len(failures)} of {len(digests)} clips cannot be made again from their audio (the "
            f"first: {failures[0]}); where the audio is, write the splits again with: earmark "
            "prepare DATASET, and with --self_contained to take them elsewhere"
        )
    return [views[digest] for digest in digests]
