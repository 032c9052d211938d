"""Kills `earmark label` at random moments, and compares its rows with those of an undisturbed run.

A folder is made of clips of ESC-50, of damaged ones (tools/mutate_recordings.py), and of odd shapes
and names. It is labelled once without a kill and once with so many: of the process that was
called, of one of its workers, or with Ray of any of its processes. Then the same command goes on,
until there is nothing left to do. If that is before all kills, it begins anew in another folder.

    python benchmarks/archive_kill.py --files 2000 --kills 50 --engine local
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from earmark.archive.query import Questions
from earmark.archive.store import Archive
from earmark.io.decode import read
from earmark.provenance import how
from tools import mutate_recordings

BROKEN_SHARE = 0.2
MUTATED_CLIPS = 6
MOST_STARTS = 1000
EVENTS = "SELECT path, label, onset_seconds, offset_seconds, score FROM events ORDER BY ALL"
FILES = (
    "SELECT path, status, cause, error, seconds, events, sample_rate, channels, site FROM files "
    "ORDER BY ALL"
)


def main() -> int:
    """Make the folder, label it twice, compare, print; return 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("archive-kill"), help="to work in")
    parser.add_argument("--every", type=float, default=6.0, help="mean seconds between kills")
    parser.add_argument("--model_dir", default="base")
    args = parser.parse_args()
    recordings = args.folder / "recordings"
    if not recordings.is_dir():
        make_recordings(recordings, args.files, args.seed)
    plain = args.folder / "plain"
    label = [sys.executable, "-m", "earmark.cli", "label", str(recordings)]
    label += ["--workers", str(args.workers), "--model_dir", args.model_dir]
    if not plain.exists():
        subprocess.run([*label, "--out", str(plain)], check=True)
    rng = random.Random(args.seed)
    counts: Counter[str] = Counter()
    wrong = 0
    print(f"# Kills ({args.engine})\n", flush=True)
    while (left := args.kills - sum(counts.values())) > 0:
        killed = args.folder / f"killed-{args.engine}"
        shutil.rmtree(killed, ignore_errors=True)
        begun = time.monotonic()
        command = [*label, "--out", str(killed), "--engine", args.engine]
        command += ["--checkpoint_seconds", "5"]
        some, starts = run_killed(command, left, args.every, rng, args.folder)
        took = time.monotonic() - begun
        counts += some
        print(f"{sum(some.values())} kills in {took:.0f} s, {starts} starts: {dict(some)}\n")
        wrong += compare(plain, killed)
    print(f"\n{sum(counts.values())} kills in all: {dict(counts)}")
    print("\n".join(["", *how(" ".join(["python", *sys.argv]))]))
    return 1 if wrong else 0


def make_recordings(folder: Path, files: int, seed: int) -> None:
    """Write clips, damaged clips, odd shapes and odd names."""
    clips = sorted(Path(os.environ["EARMARK_ESC50"]).rglob("*.ogg"))
    broken = round(BROKEN_SHARE * files)
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    for number, clip in enumerate(rng.sample(clips, min(len(clips), files - broken))):
        site = folder / f"site{number % 5}"
        site.mkdir(exist_ok=True)
        stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(1_706_680_000 + 601 * number))
        shutil.copy(clip, site / f"{stamp}.ogg")
    damaged = folder / "damaged"
    damaged.mkdir()
    odd_ones = make_odd(folder / "odd", clips[0], clips[1])
    for _ in mutate_recordings.cases(broken - odd_ones, seed, clips[:MUTATED_CLIPS], damaged):
        pass


def make_odd(folder: Path, one: Path, two: Path) -> int:
    """Write files of odd shapes and names; return how many."""
    folder.mkdir()
    samples = read(one, 44_100)
    rate = 44_100
    soundfile.write(folder / "ten-channels.wav", np.repeat(samples[:, None], 10, axis=1), rate)
    soundfile.write(folder / "384kHz.wav", np.repeat(samples, 9), 384_000)
    soundfile.write(folder / "3kHz.wav", samples[::14], 3_000)
    soundfile.write(folder / "silent.wav", np.zeros(rate), rate)
    soundfile.write(folder / "one-sample.wav", samples[:1], rate)
    soundfile.write(folder / "header-only.wav", samples[:0], rate)
    nan = samples.copy()
    nan[1000:1100] = np.nan
    soundfile.write(folder / "nan.wav", nan, rate, subtype="FLOAT")
    soundfile.write(folder / "never-divided.wav", samples * 32768, rate, subtype="FLOAT")
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no audio at all\n" * 99, encoding="utf-8")
    (folder / "picture.mp3").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5_000))
    (folder / "zeros.wav").write_bytes(bytes(100_000))
    shutil.copy(one, folder / "wrong-suffix.mp3")
    shutil.copy(two, folder / "line\nbreak\ttab.ogg")
    shutil.copy(two, folder / "quote\"comma,'#.ogg")
    shutil.copy(two, folder / "ünïcödé 音.ogg")
    with open(os.fsencode(folder) + b"/not-utf8-\xff\xfe.ogg", "wb") as file:  # noqa: PTH123
        file.write(one.read_bytes())
    (folder / "link.ogg").symlink_to(one)
    (folder / "dead-link.wav").symlink_to("nowhere.wav")
    (folder / "link-to-itself.wav").symlink_to("link-to-itself.wav")
    os.mkfifo(folder / "pipe.wav")
    return len(list(folder.iterdir()))


def run_killed(
    command: list[str], kills: int, every: float, rng: random.Random, folder: Path
) -> tuple[Counter[str], int]:
    """Run a command over and over until all is done, with kills; return them, and starts."""
    counts: Counter[str] = Counter()
    with (folder / "killed.log").open("ab") as log:
        for start in range(1, MOST_STARTS):
            process = subprocess.Popen(command, stderr=log, stdout=log, start_new_session=True)
            while process.poll() is None:
                more = sum(counts.values()) < kills
                wait = max(0.5, rng.expovariate(1 / every)) if more else None
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(wait)
                    continue
                name, target = choose(process.pid, rng)
                try:
                    os.kill(target, signal.SIGKILL)
                    counts[name] += 1
                except ProcessLookupError:
                    continue
            if process.returncode == 0:
                return counts, start
            stop_left(process.pid)
    raise SystemExit("does not come to an end")


def choose(driver: int, rng: random.Random) -> tuple[str, int]:
    """Choose what to kill: the process that was called, or one of those below it."""
    below = [pid for pid in descendants(driver) if "resource_tracker" not in words(pid)]
    if not below or rng.random() < 0.4:
        return "driver", driver
    pid = rng.choice(below)
    name = words(pid)
    for mark, kind in (
        ("raylet", "raylet"),
        ("gcs_server", "gcs"),
        ("ray::", "ray worker"),
        ("ray", "other of Ray"),
    ):
        if mark in name:
            return kind, pid
    return "worker", pid


def descendants(pid: int) -> list[int]:
    """Return the processes below one."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found, left = [], [pid]
    while left:
        below = parents.get(left.pop(), [])
        found += below
        left += below
    return found


def words(pid: int) -> str:
    """Return the command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def stop_left(session: int) -> None:
    """End what a killed driver has left, of its own session alone (Ray's daemons)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                os.kill(int(path.parent.name), signal.SIGKILL)
        except (OSError, ProcessLookupError):
            continue


def compare(plain: Path, killed: Path) -> int:
    """Print how the rows of two archives differ; return how many do."""
    wrong = 0
    for name, question in (("files", FILES), ("events", EVENTS)):
        rows = [Counter(answers(out, question)) for out in (plain, killed)]
        lost, added = rows[0] - rows[1], rows[1] - rows[0]
        doubled = sum(count - 1 for row, count in rows[1].items() if count > rows[0][row] > 0)
        wrong += sum(lost.values()) + sum(added.values())
        print(
            f"{name}: {sum(rows[0].values())} rows undisturbed, {sum(rows[1].values())} killed; "
            f"lost {sum(lost.values())}, added or changed {sum(added.values())}, doubled {doubled}"
        )
        for row in [*list(lost)[:3], *list(added)[:3]]:
            print("  ", row)
    causes = "SELECT status, cause, count(*) FROM files GROUP BY ALL ORDER BY ALL"
    for row in answers(killed, causes):
        print("  ", json.dumps(row))
    return wrong


def answers(out: Path, question: str) -> list[tuple[Any, ...]]:
    """Return the rows of a question to an archive."""
    archive = Archive(out)
    return list(Questions(archive, archive.sets).sql(question).rows)


if __name__ == "__main__":
    sys.exit(main())
