"""How many live streams one core serves: delay and processor share of `earmark serve`.

    python benchmarks/serve_streams.py path/to/ESC-10             1 to 50 streams, three minutes
    python benchmarks/serve_streams.py path/to/ESC-10 --full      1 to 300, then 100 for an hour

What was measured already with the same settings is not measured again, so that a run that was
broken off goes on; --again forgets it.

A server process of its own, held to one core, and client processes on the others. Each client sends
recordings in messages of 100 ms at the speed of the sound over a WebSocket of its own, from a
moment of its own. The delay of a block is the time from when the message with its last sample was
sent to when its scores were read; the length of the block itself is not in it. CPU is user and
system time over the time of the measurement, of one core; clients that come near the whole of
theirs add to the delays. Streams that a full server let go, or did not take, are counted apart.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.io import decode
from earmark.io.files import write_json, write_text
from earmark.io.paths import walk
from earmark.provenance import commit, how
from earmark.serve.protocol import pack_samples

CHUNK_SECONDS = 0.1
CLIENT_STREAMS = 50  # in one client process
SMALL, FULL = (1, 20, 50), (1, 50, 100, 150, 200, 250, 300)
SOAK_STREAMS, SOAK_MINUTES = 100, 60.0
MINUTE = 60.0
_WIDTH = 118  # of the page's lines


def read_sound(folder: Path, sample_rate: int, seconds: float) -> NDArray[np.int16]:
    """Return recordings laid end to end."""
    parts, have = [], 0.0
    for path in walk(folder).files[:: max(1, len(walk(folder).files) // 40)]:
        samples = decode.read(path, sample_rate, allow_silence=True)
        parts.append((np.clip(samples, -1, 1) * 32767).astype(np.int16))
        have += len(samples) / sample_rate
        if have > seconds:
            break
    return np.concatenate(parts)


async def one_stream(
    address: str, sound: NDArray[np.int16], rate: int, begin: float, settings: argparse.Namespace
) -> list[tuple[float, float]] | None:
    """Send sound for as long as it takes; return the blocks that count: their ends and delays.

    None: the server let the stream go, or did not take it.
    """
    import websockets

    part = round(CHUNK_SECONDS * rate)
    loop, sent = asyncio.get_running_loop(), list[float]()
    delays = list[tuple[float, float]]()
    await asyncio.sleep(max(0.0, begin - time.time()))
    start = {"type": "start", "protocol": 1, "sample_rate": rate}
    reading: asyncio.Task[None] | None = None
    try:
        async with websockets.connect(
            address, compression=None, max_queue=None, open_timeout=60
        ) as socket:
            await socket.send(json.dumps({**start, "spectrogram": settings.spectrogram}))
            await socket.recv()
            first = loop.time()

            async def read() -> None:
                async for message in socket:
                    if not isinstance(message, str) or '"scores"' not in message[:16]:
                        continue
                    now, at = loop.time(), float(json.loads(message)["at"])
                    chunk = min(len(sent) - 1, int(np.ceil(round(at / CHUNK_SECONDS, 6))) - 1)
                    if at > settings.warm_up:
                        delays.append((at - settings.warm_up, now - sent[chunk]))

            reading = asyncio.create_task(read())
            for number in range(round((settings.warm_up + settings.seconds) / CHUNK_SECONDS)):
                place = number * part % (len(sound) - part)
                await asyncio.sleep(first + (number + 1) * CHUNK_SECONDS - loop.time())
                sent.append(loop.time())
                await socket.send(pack_samples(number, number * part, sound[place : place + part]))
            await asyncio.sleep(1.0)
            return delays
    except (websockets.WebSocketException, TimeoutError, OSError):  # by a server that is full
        return None
    finally:
        if reading is not None:
            reading.cancel()


async def client(settings: argparse.Namespace) -> None:
    """Run the streams of one client process; print their delays as JSON."""
    sound = np.load(settings.sound)
    rng = np.random.default_rng(settings.client)
    streams = []
    for _ in range(settings.streams):
        turned = np.roll(sound, -int(rng.integers(len(sound))))
        begin = settings.begin + float(rng.uniform(0, settings.warm_up / 2))
        streams.append(one_stream(settings.address, turned, settings.rate, begin, settings))
    delays = await asyncio.gather(*streams)
    kept = [stream for stream in delays if stream is not None]
    found = [delay for stream in kept for delay in stream]
    print(json.dumps({"delays": found, "let_go": len(delays) - len(kept)}))


def cpu_seconds(process: int) -> float:
    """Return what a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: int) -> float:
    """Return what a process holds in memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def start_server(settings: argparse.Namespace) -> tuple[subprocess.Popen[str], str]:
    """Start a server on one core; return it with the address of its WebSocket."""
    words = [sys.executable, "-m", "earmark.cli", "serve", "--port", "0", "--sessions", "1000"]
    words += ["--sounds", str(settings.sound.parent / "own")]
    words += ["--model_dir", settings.model_dir] if settings.model_dir else []
    words += ["--block_seconds", str(settings.block_seconds)] if settings.block_seconds else []
    taskset = ["taskset", "--cpu-list", str(settings.core)]
    server = subprocess.Popen(
        taskset + words,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found = re.search(r"http://(\S+)/", server.stdout.readline() if server.stdout else "")
    if found is None:
        raise SystemExit("the server did not start")
    return server, f"ws://{found[1]}/api/stream"


def start_clients(
    address: str, streams: int, begin: float, seconds: float, settings: argparse.Namespace
) -> list[subprocess.Popen[str]]:
    """Start the clients on the cores that the server does not have."""
    others = os.sched_getaffinity(0) - {settings.core} or {settings.core}
    clients = []
    for number, first in enumerate(range(0, streams, CLIENT_STREAMS)):
        words = [sys.executable, __file__, "-", "--client", str(number)]
        words += ["--sound", str(settings.sound), "--address", address, "--begin", str(begin)]
        words += ["--streams", str(min(CLIENT_STREAMS, streams - first))]
        words += ["--rate", str(settings.rate), "--warm_up", str(settings.warm_up)]
        words += ["--seconds", str(seconds)]
        words += ["--spectrogram"] * settings.spectrogram
        clients.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        os.sched_setaffinity(clients[-1].pid, others)
    return clients


def measure(streams: int, seconds: float, settings: argparse.Namespace) -> dict[str, Any]:
    """Serve so many streams for so long; return what it took, with the memory of each minute."""
    server, address = start_server(settings)
    try:
        return measure_at(server, address, streams, seconds, settings)
    finally:
        server.terminate()
        server.wait(20)


def measure_at(
    server: subprocess.Popen[str],
    address: str,
    streams: int,
    seconds: float,
    settings: argparse.Namespace,
) -> dict[str, Any]:
    """Do what `measure` does, with a server that was started."""
    begin = time.time() + 3.0 + streams / 50
    clients = start_clients(address, streams, begin, seconds, settings)
    time.sleep(max(0.0, begin + settings.warm_up - time.time()))
    processes = [server.pid, *(client.pid for client in clients)]
    before, since = [cpu_seconds(one) for one in processes], time.monotonic()
    memory = [resident_mb(server.pid)]
    until = since + seconds - 1.0  # the first client has one second left
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, MINUTE))
        memory.append(resident_mb(server.pid))
        if seconds > 2 * MINUTE:
            print(f"  minute {len(memory) - 1}: {memory[-1]:.0f} MB", flush=True)
    passed = time.monotonic() - since
    used = [cpu_seconds(one) - was for one, was in zip(processes, before, strict=True)]
    told = [json.loads(client.communicate()[0]) for client in clients]
    ends, delays = np.array([one for each in told for one in each["delays"]]).reshape(-1, 2).T
    wanted = zip(("p50_ms", "p95_ms", "p99_ms", "most_ms"), (50, 95, 99, 100), strict=True)
    return {
        "streams": streams,
        "seconds": seconds,
        "block_seconds": settings.block_seconds,
        "let_go": sum(one["let_go"] for one in told),
        "blocks": len(delays),
        **{
            name: round(1000 * float(np.percentile(delays, share)), 1) if len(delays) else "-"
            for name, share in wanted
        },
        "p99_ms_by_minute": [
            round(1000 * float(np.percentile(delays[ends // MINUTE == minute], 99)))
            for minute in np.unique(ends // MINUTE)
        ],
        "cpu": round(used[0] / passed, 3),
        "clients_cpu": round(sum(used[1:]) / passed, 3),
        "resident_mb": [round(one, 1) for one in memory],
        "load": round(os.getloadavg()[0], 1),
        "commit": commit() or "unknown",
    }


def kept_rows(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what an earlier run measured with the same settings."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return list(content["rows"]) if content.get("settings") == settings else []


def _wrapped(what: str, values: str) -> list[str]:
    return textwrap.wrap(f"{what}: {values}.", _WIDTH)


def _order(row: dict[str, Any]) -> tuple[float, float, int]:
    return row["seconds"], row["block_seconds"] or 0.0, row["streams"]


def lay_out(rows: list[dict[str, Any]]) -> list[str]:
    """Return the rows as a table, and the memory of a long one by its minutes."""
    lines = [
        "| streams | --block_seconds | let go | seconds | delay p50 ms | p95 ms | p99 ms "
        "| longest ms | server CPU | clients' CPU | MB | load of the machine |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['streams']} | {row['block_seconds'] or 'its own'} | {row['let_go']} "
        f"| {row['seconds']:g} | {row['p50_ms']} | {row['p95_ms']} | {row['p99_ms']} "
        f"| {row['most_ms']} | {100 * row['cpu']:.0f} % "
        f"| {100 * row['clients_cpu']:.0f} % | {row['resident_mb'][-1]:.0f} | {row['load']} |"
        for row in sorted(rows, key=_order)
    ]
    for row in rows:
        if len(row["resident_mb"]) > 3:
            minutes = " ".join(f"{one:.0f}" for one in row["resident_mb"])
            what = f"Memory with {row['streams']} streams, MB at each minute"
            lines += ["", *_wrapped(what, minutes)]
            late = " ".join(map(str, row["p99_ms_by_minute"]))
            lines += ["", *_wrapped("99th percentile of its delay in each minute, ms", late)]
    return lines


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="folder of recordings")
    parser.add_argument("--streams", type=int, nargs="+", help=f"{SMALL}")
    parser.add_argument("--full", action="store_true", help=f"{FULL}, then the long run")
    parser.add_argument("--seconds", type=float, default=30.0, help="of measurement")
    parser.add_argument("--soak_streams", type=int, default=0, help="of the long run (0: none)")
    parser.add_argument("--soak_minutes", type=float, default=SOAK_MINUTES, help="of the long run")
    parser.add_argument("--warm_up", type=float, default=6.0, help="seconds that do not count")
    parser.add_argument("--rate", type=int, default=44_100, help="sample rate of the clients")
    parser.add_argument("--spectrogram", action="store_true", help="ask for columns of mel bands")
    parser.add_argument("--model_dir", help="the model (base)")
    parser.add_argument("--block_seconds", type=float, help="as of earmark serve (its own)")
    parser.add_argument("--core", type=int, default=0, help="the server's")
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    parser.add_argument("--out", type=Path, default=Path("docs/results/serve"))
    parser.add_argument("--sound", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client is not None:
        args.streams = args.streams[0]
        asyncio.run(client(args))
        return
    counts = args.streams or (FULL if args.full else SMALL)
    wanted = [(count, args.seconds) for count in counts]
    soak = args.soak_streams or (SOAK_STREAMS if args.full else 0)
    wanted += [(soak, MINUTE * args.soak_minutes)] if soak else []
    words = " ".join(["python benchmarks/serve_streams.py path/to/ESC-10", *said(args)])
    kind = ("rate", "warm_up", "spectrogram", "model_dir")
    settings = {name: getattr(args, name) for name in kind}
    file = args.out.with_suffix(".json")
    rows = [] if args.again else kept_rows(file, settings)
    with tempfile.TemporaryDirectory() as folder:
        args.sound = Path(folder) / "sound.npy"
        np.save(args.sound, read_sound(args.dataset, args.rate, 120.0))
        for streams, seconds in wanted:
            key = (streams, seconds, args.block_seconds)
            if any((row["streams"], row["seconds"], row["block_seconds"]) == key for row in rows):
                continue
            rows.append(measure(streams, seconds, args))
            print("\n".join(lay_out(rows[-1:])[2:]), flush=True)
            write_json(file, {"settings": settings, "rows": rows})
    text = textwrap.wrap(" ".join(__doc__.split("--again forgets it.")[1].split()), _WIDTH)
    commits = sorted({row["commit"] for row in rows})
    notes = [*how(words, cores=1), f"- rows measured at: {', '.join(commits)}"]
    page = ["# How many live streams one core serves", "", *text, "", *lay_out(rows), "", *notes]
    write_text(args.out.with_suffix(".md"), "\n".join(page) + "\n")


def said(args: argparse.Namespace) -> list[str]:
    """Return the flags that change what is measured."""
    words = ["--full"] * args.full
    words += ["--streams", *map(str, args.streams)] if args.streams else []
    words += [f"--seconds {args.seconds:g}", f"--rate {args.rate}"]
    words += [f"--soak_streams {args.soak_streams}"] if args.soak_streams else []
    if args.soak_minutes != SOAK_MINUTES:
        words.append(f"--soak_minutes {args.soak_minutes:g}")
    words += [f"--model_dir {args.model_dir}"] if args.model_dir else []
    words += [f"--block_seconds {args.block_seconds:g}"] if args.block_seconds else []
    return words + ["--spectrogram"] * args.spectrogram


if __name__ == "__main__":
    main()
