"""Labels with Ray on two network namespaces as two hosts, one of which is cut off in the middle.

The head of Ray runs in one namespace, a worker's raylet in the other; a pair of virtual network
devices joins them. When two fifths of the files are done, the devices are taken down, and the run
has to finish on the first host alone. Its rows are compared with those of an undisturbed local run.
It needs Linux and root.

    python benchmarks/archive_hosts.py --files 500
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.archive_kill import compare, make_recordings
from earmark.provenance import how

HOSTS = {"earmark-a": "10.213.77.1", "earmark-b": "10.213.77.2"}
PORT = 6399
START_SECONDS = 300.0
CUT_AT = 0.4
OPEN = {"RAY_AUTH_MODE": "disabled"}  # nothing but these two hosts reaches their network


def main() -> int:
    """Make the folder, label it, compare; return 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=Path("archive-hosts"), help="to work in")
    parser.add_argument("--model_dir", default="base")
    args = parser.parse_args()
    recordings, plain, out = (args.folder / name for name in ("recordings", "plain", "hosts"))
    if not recordings.is_dir():
        make_recordings(recordings, args.files, 0)
    label = [sys.executable, "-m", "earmark.cli", "label", str(recordings)]
    label += ["--model_dir", args.model_dir]
    if not plain.exists():
        subprocess.run([*label, "--out", str(plain)], check=True)
    os.environ.update(OPEN)
    with namespaces(), cluster(args.folder):
        address = f"{HOSTS['earmark-a']}:{PORT}"
        command = [*label, "--out", str(out), "--engine", "ray", "--ray_address", address]
        log = (args.folder / "label.log").open("w+", encoding="utf-8")
        process = subprocess.Popen([*inside("earmark-a"), *command, "--workers", "2"], stderr=log)
        cut_at = 0
        while process.poll() is None:
            time.sleep(1.0)
            done = finished(args.folder / "label.log")
            if not cut_at and done >= CUT_AT * args.files:
                run("ip", "netns", "exec", "earmark-b", "ip", "link", "set", "to-a", "down")
                cut_at, begun = done, time.monotonic()
        print("# Two hosts, one of them cut off\n")
        print(
            f"cut off after {cut_at} files; the run ended with code {process.returncode}, ", end=""
        )
        print(f"{time.monotonic() - begun:.0f} s later\n" if cut_at else "before the cut\n")
        print((args.folder / "label.log").read_text(encoding="utf-8").splitlines()[-6:])
    wrong = compare(plain, out)
    print("\n".join(["", *how(" ".join(["python", *sys.argv]))]))
    return 1 if wrong or process.returncode or not cut_at else 0


def finished(log: Path) -> int:
    """Return how many files the run says it has finished."""
    for line in reversed(log.read_text(encoding="utf-8").splitlines()):
        first, _, rest = line.partition(" of ")
        if first.isdigit() and "files" in rest:
            return int(first)
    return 0


def inside(name: str) -> list[str]:
    """Return the words that run a command in a namespace."""
    return ["ip", "netns", "exec", name]


def run(*command: str) -> None:
    """Run a command, and raise where it fails."""
    subprocess.run(command, check=True)


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """Make two namespaces that reach each other, and nothing else."""
    one, two = HOSTS
    for name in HOSTS:
        subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
        run("ip", "netns", "add", name)
    try:
        run("ip", "link", "add", "to-b", "netns", one, "type", "veth", "peer", "to-a", "netns", two)
        for name, device in ((one, "to-b"), (two, "to-a")):
            run(*inside(name), "ip", "addr", "add", f"{HOSTS[name]}/24", "dev", device)
            for link in (device, "lo"):
                run(*inside(name), "ip", "link", "set", link, "up")
        yield
    finally:
        for name in HOSTS:
            subprocess.run(["ip", "netns", "del", name], check=False)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Start Ray's head in one namespace and a worker's raylet in the other."""
    one, two = HOSTS.items()
    words = [
        "-m",
        "ray.scripts.scripts",
        "start",
        "--block",
        "--num-cpus=1",
        "--disable-usage-stats",
    ]
    start = [sys.executable, *words, "--object-store-memory=200000000"]
    head = ["--head", f"--port={PORT}", f"--node-ip-address={one[1]}", "--include-dashboard=false"]
    worker = [f"--address={one[1]}:{PORT}", f"--node-ip-address={two[1]}"]
    started = []
    with (folder / "ray.log").open("w", encoding="utf-8") as log:
        for name, more in ((one[0], head), (two[0], worker)):
            command = [*inside(name), *start, *more]
            started.append(
                subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            )
            time.sleep(5.0)
        try:
            wait_for_nodes(one[0], 2)
            yield
        finally:
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
            time.sleep(3.0)
            for process in started:
                stop_session(process.pid)


def wait_for_nodes(name: str, count: int) -> None:
    """Wait until Ray has so many nodes."""
    code = (
        f"import ray; ray.init(address='{HOSTS[name]}:{PORT}', logging_level='ERROR'); "
        "print(sum(node['Alive'] for node in ray.nodes()))"
    )
    begun = time.monotonic()
    while time.monotonic() - begun < START_SECONDS:
        done = subprocess.run(
            [*inside(name), sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        if done.stdout.split()[-1:] == [str(count)]:
            return
        time.sleep(3.0)
    raise SystemExit(f"Ray does not start: {done.stderr[-500:]}")


def stop_session(session: int) -> None:
    """End all processes of a session that was started here."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ProcessLookupError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                os.kill(int(path.parent.name), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
