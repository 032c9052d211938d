"""Features are found by content and front end, whole or not at all, within a limit."""

import dataclasses
import importlib.metadata
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest

from earmark.data.cache import store
from earmark.data.cache.packs import Entry, Pack
from earmark.data.cache.store import FeatureCache
from tests.builders import FRONT_END

OTHER = dataclasses.replace(FRONT_END, hop_length=200)


def entry(number, frames=5, notes=()):
    rows = np.random.default_rng(number).normal(size=(frames, FRONT_END.n_mels))
    return Entry(f"{number:064x}", rows.astype(np.float32), 0.1 * frames, tuple(notes))


def put(cache, *entries, front_end=FRONT_END, age=0.0):
    """Keep clips as one pack that was used some seconds ago; return its path."""
    shelf = cache.shelf(front_end)
    before = set(cache.folder.rglob("*.frames"))
    shelf.add(entries)
    (path,) = set(cache.folder.rglob("*.frames")) - before
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", 10**6)


def test_what_is_kept_is_found_by_another_process(cache):
    entries = [entry(1), entry(2, 1, ["is very quiet", "ünïcode"]), entry(3, 9)]
    put(cache, *entries)
    shelf = FeatureCache(cache.folder).shelf(FRONT_END)
    for given in entries:
        stored = shelf.find(given.digest)
        assert stored is not None
        assert np.array_equal(stored.frames.array, given.frames)
        assert (stored.seconds, stored.notes) == (given.seconds, given.notes)
    assert shelf.find("0" * 64) is None


def test_another_front_end_or_version_finds_nothing(cache, monkeypatch):
    put(cache, entry(1))
    assert cache.shelf(OTHER).find(entry(1).digest) is None
    assert [h.current for h in cache.holdings()] == [True]
    monkeypatch.setattr(store, "VERSION", store.VERSION + 1)
    assert cache.shelf(FRONT_END).find(entry(1).digest) is None
    assert [h.current for h in cache.holdings()] == [False]


def test_another_version_of_the_second_decoder_finds_nothing(cache, monkeypatch):
    pytest.importorskip("av")
    put(cache, entry(1))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1")
    assert cache.shelf(FRONT_END).find(entry(1).digest) is None


@pytest.mark.parametrize("damage", ["cut", "mark", "index", "length", "count", "empty", "foreign"])
def test_a_damaged_pack_is_as_good_as_none(cache, damage):
    path = put(cache, entry(1), entry(2))
    data = path.read_bytes()
    length = int.from_bytes(data[-16:-8], "little")
    index = data[-16 - length : -16]
    path.write_bytes(
        {
            "cut": data[:-1],
            "mark": data[:-1] + b"9",
            "index": data.replace(b'"clips"', b'"klips"'),
            "length": data[:-16] + (2**63).to_bytes(8, "little") + data[-8:],
            "count": data.replace(b",5,", b",4,"),
            "empty": b"",
            "foreign": data[: -16 - length] + b"[" + index[1:-1] + b"]" + data[-16:],
        }[damage]
    )
    with pytest.raises(ValueError, match=r"."):
        Pack(path)
    shelf = cache.shelf(FRONT_END)
    assert shelf.find(entry(1).digest) is None
    shelf.add([entry(1)])
    assert shelf.find(entry(1).digest) is not None


def test_a_pack_that_is_removed_meanwhile_is_missed_or_still_whole(cache):
    path = put(cache, entry(1))
    before, after = cache.shelf(FRONT_END), cache.shelf(FRONT_END)
    stored = before.find(entry(1).digest)
    assert stored is not None
    path.unlink()
    assert np.array_equal(stored.frames.array, entry(1).frames)
    assert after.find(entry(1).digest) is None


def test_the_oldest_used_go_first(cache):
    packs = [put(cache, entry(n, 100), age=age) for n, age in ((1, 30), (2, 90), (3, 60))]
    size = packs[0].stat().st_size
    cache.max_bytes = size + size // 2
    assert cache.prune() == [packs[1], packs[2]]
    assert [path.exists() for path in packs] == [True, False, False]


def test_what_a_run_uses_is_young_again_and_stays_above_the_limit(cache):
    packs = [put(cache, entry(n, 100), age=age) for n, age in ((1, 90), (2, 60))]
    cache.max_bytes = packs[0].stat().st_size // 2
    shelf = cache.shelf(FRONT_END)
    shelf.find(entry(1).digest)
    line = shelf.finish()
    assert [path.exists() for path in packs] == [True, False]
    assert time.time() - packs[0].stat().st_mtime < 30
    assert "earmark cache --max_size 1GB" in line
    cache.max_bytes = 10**6
    assert cache.shelf(FRONT_END).finish() == ""


def test_a_limit_that_is_set_holds_at_once_and_later(cache):
    path = put(cache, entry(1, 50_000))
    assert path.stat().st_size > 10**6
    cache.set_limit(10**6)
    assert not path.exists()
    assert FeatureCache(cache.folder).max_bytes == 10**6


def test_holdings_count_each_clip_once(cache):
    put(cache, entry(1), entry(2), age=50)
    put(cache, entry(2), entry(3), age=40)
    put(cache, entry(4), front_end=OTHER, age=10)
    found = cache.holdings()
    assert [holding.clips for holding in found] == [1, 3]
    assert [holding.front_end["hop_length"] for holding in found] == [200, 160]
    assert sum(holding.size for holding in found) == cache.size()


def test_clearing_leaves_what_is_not_of_the_cache(cache):
    path = put(cache, entry(1))
    mine = path.with_name("notes.txt")
    mine.touch()
    half = path.with_name(f".{path.name}.0123.part")
    half.touch()
    freed = path.stat().st_size
    assert cache.clear() == freed
    assert not path.exists()
    assert not half.exists()
    assert mine.exists()
    assert cache.holdings() == []


def test_what_a_kill_left_goes_after_a_day(cache):
    path = put(cache, entry(1))
    parts = [path.with_name(f".{path.name}.{n}.part") for n in range(2)]
    for part, age in zip(parts, (60, 2 * 24 * 3600), strict=True):
        part.touch()
        os.utime(part, (time.time() - age,) * 2)
    cache.prune()
    assert [part.exists() for part in parts] == [True, False]


WRITER = """
import sys, numpy as np
from pathlib import Path
from earmark.config import FrontEndSettings
from earmark.data.cache.packs import Entry
from earmark.data.cache.store import FeatureCache
cache = FeatureCache(Path(sys.argv[1]), 40_000)
settings = FrontEndSettings(8_000, 256, 160, 6, 50.0, 4_000.0, 1e-6)
print("ready", flush=True)
sys.stdin.readline()
found = 0
for number in range(30):
    shelf = cache.shelf(settings)
    digest = f"{number % 7:064x}"
    stored = shelf.find(digest)
    if stored is None:
        shelf.add([Entry(digest, np.full((100, 6), number % 7, np.float32), 2.0)])
        stored = shelf.find(digest)
    if stored is not None:  # the other may have removed it
        found += 1
        assert (stored.frames.array == number % 7).all()
    shelf.finish()
print(found)
"""


def test_two_processes_write_read_and_remove_at_once(tmp_path):
    words = [sys.executable, "-c", WRITER, str(tmp_path)]
    pipe = subprocess.PIPE
    processes: list[Any] = [
        subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)
    ]
    for process in processes:  # both have started before either begins
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        said, faults = process.communicate(timeout=120)
        assert process.returncode == 0, faults
        assert int(said) > 20
    left = FeatureCache(tmp_path, 40_000)
    left.prune()
    assert 0 < left.size() <= 40_000
