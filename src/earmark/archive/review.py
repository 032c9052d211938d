"""Clips to listen to, by which to tell how often a class is right, and a table for the verdicts.

Of each class, in the order of its scores, every n-th event is chosen from a random start. So each
event has the same chance, high and low scores are there as often as in the archive, and the share
that is right is the precision, of all events and of those above any threshold.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from pathlib import Path

import soundfile

from earmark.archive import samples
from earmark.archive.query import Questions, plain
from earmark.archive.verdicts import COLUMNS, TABLE
from earmark.io.files import make_folder, write_bytes, write_text
from earmark.output.writer import csv_line

_CLIPS = "clips"

# Place p of n is chosen if a number k + start, times n / most, lies from p to p + 1. The order is
# random, so that those who stop early have judged a fair part.
_CHOSEN = """
SELECT label, path, path_bytes, onset_seconds, score, start_utc FROM (
  SELECT *, row_number() OVER (PARTITION BY label ORDER BY score, path, onset_seconds) - 1 AS place,
         least(1.0, {most} / count(*) OVER (PARTITION BY label)) AS share,
         hash(label, {seed}) % 1000000 / 1000000 AS start FROM events)
WHERE share = 1 OR ceil((place + 1) * share - start) > ceil(place * share - start)
ORDER BY label, hash(path, onset_seconds, {seed})
"""


def write_review(folder: Path, questions: Questions, per_class: int, seed: int) -> tuple[int, int]:
    """Write clips, and a table of them that waits for verdicts, all of it or nothing.

    Args:
        folder: takes the table and the folder `clips`.
        questions: to the results.
        per_class: events of each class.
        seed: of the choice.

    Returns:
        How many clips were written, and how many recordings could not be read any more.

    Raises:
        OSError: the folder cannot be written.
    """
    chosen = questions.sql(_CHOSEN.format(most=per_class, seed=seed))
    lines, written, missing = [csv_line(list(COLUMNS))], list[Path](), 0
    make_folder(folder / _CLIPS)
    try:
        for label, path, raw, onset, score, start in chosen.rows:
            file = Path(os.fsdecode(raw) if raw is not None else path)
            cut = samples.cut(file, float(onset)) if file.is_file() else None
            if cut is None:
                missing += 1
                continue
            plain_label = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")
            name = f"{_CLIPS}/{plain_label}-{len(written) + 1:04}.wav"
            data = io.BytesIO()
            soundfile.write(data, cut, samples.RATE, format="WAV", subtype="PCM_16")
            written.append(folder / name)
            write_bytes(folder / name, data.getvalue())
            when = "" if start is None else str(plain(start))
            line = [name, label, path, f"{score:.4f}", f"{onset:.3f}", when, "", ""]
            lines.append(csv_line(line))
        write_text(folder / TABLE, "".join(line + "\n" for line in lines))
    except BaseException:  # clips of no table would lie among those of the next draw
        for clip in written:
            clip.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there may have been others before
            (folder / _CLIPS).rmdir()
        raise
    return len(written), missing
