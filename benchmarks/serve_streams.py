"""How many live streams one core serves: delay and CPU of `earmark serve`, 1 to 300 streams.

    python benchmarks/serve_streams.py path/to/ESC-10 --out docs/results/serve

A server process of its own, held to one core, and client processes on the others. Each client
sends recordings in messages of 100 ms at the speed of the sound over a WebSocket of its own, from a
moment of its own. The delay of a block is the time from when the message with its last sample was
sent to when its scores were read; the length of the block itself is not in it. CPU is the server's
user and system time over the time of the measurement.
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
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.io import decode
from earmark.io.files import write_json, write_text
from earmark.io.paths import walk
from earmark.provenance import how
from earmark.serve.protocol import pack_samples

CHUNK_SECONDS = 0.1
CLIENT_STREAMS = 50  # in one client process
TARGET_SECONDS = 0.25


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
) -> list[float]:
    """Send sound for as long as it takes; return the delays of the blocks that count."""
    import websockets

    part = round(CHUNK_SECONDS * rate)
    loop, sent, delays = asyncio.get_running_loop(), list[float](), list[float]()
    await asyncio.sleep(max(0.0, begin - time.time()))
    async with websockets.connect(
        address, compression=None, max_queue=None, open_timeout=60
    ) as socket:
        await socket.send(
            json.dumps(
                {
                    "type": "start",
                    "protocol": 1,
                    "sample_rate": rate,
                    "spectrogram": settings.spectrogram,
                }
            )
        )
        await socket.recv()
        first = loop.time()

        async def read() -> None:
            async for message in socket:
                if not isinstance(message, str) or '"scores"' not in message[:16]:
                    continue
                now, at = loop.time(), float(json.loads(message)["at"])
                chunk = min(len(sent) - 1, int(np.ceil(round(at / CHUNK_SECONDS, 6))) - 1)
                if at > settings.warm_up:
                    delays.append(now - sent[chunk])

        reading = asyncio.create_task(read())
        for number in range(round((settings.warm_up + settings.seconds) / CHUNK_SECONDS)):
            start = number * part % (len(sound) - part)
            await asyncio.sleep(first + (number + 1) * CHUNK_SECONDS - loop.time())
            sent.append(loop.time())
            await socket.send(pack_samples(number, number * part, sound[start : start + part]))
        await asyncio.sleep(1.0)
        reading.cancel()
    return delays


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
    print(json.dumps([delay for stream in delays for delay in stream]))


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
    server = subprocess.Popen(
        words + (["--model_dir", settings.model_dir] if settings.model_dir else []),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    os.sched_setaffinity(server.pid, {0})
    found = re.search(r"http://(\S+)/", server.stdout.readline() if server.stdout else "")
    if found is None:
        raise SystemExit("the server did not start")
    return server, f"ws://{found[1]}/api/stream"


def measure(streams: int, settings: argparse.Namespace, sound: Path) -> dict[str, Any]:
    """Serve so many streams for a while; return what it took."""
    server, address = start_server(settings)
    others = set(os.sched_getaffinity(0)) - {0} or {0}
    begin = time.time() + 3.0
    clients = []
    for number, first in enumerate(range(0, streams, CLIENT_STREAMS)):
        words = [sys.executable, __file__, "-", "--client", str(number), "--sound", str(sound)]
        words += ["--streams", str(min(CLIENT_STREAMS, streams - first)), "--begin", str(begin)]
        words += ["--address", address, "--rate", str(settings.rate)]
        words += ["--seconds", str(settings.seconds), "--warm_up", str(settings.warm_up)]
        words += ["--spectrogram"] * settings.spectrogram
        clients.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        os.sched_setaffinity(clients[-1].pid, others)
    time.sleep(max(0.0, begin + settings.warm_up - time.time()))
    before, since = cpu_seconds(server.pid), time.monotonic()
    time.sleep(settings.seconds * 0.8)
    cpu = (cpu_seconds(server.pid) - before) / (time.monotonic() - since)
    memory = resident_mb(server.pid)
    delays = np.array([one for done in clients for one in json.loads(done.communicate()[0])])
    server.terminate()
    server.wait(20)
    return {
        "streams": streams,
        "blocks": len(delays),
        "p50_ms": round(1000 * float(np.percentile(delays, 50)), 1),
        "p99_ms": round(1000 * float(np.percentile(delays, 99)), 1),
        "most_ms": round(1000 * float(delays.max()), 1),
        "cpu": round(cpu, 3),
        "resident_mb": round(memory, 1),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="folder of recordings")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 50, 100, 200, 300])
    parser.add_argument("--seconds", type=float, default=30.0, help="of measurement")
    parser.add_argument("--warm_up", type=float, default=6.0, help="seconds that do not count")
    parser.add_argument("--rate", type=int, default=44_100, help="sample rate of the clients")
    parser.add_argument("--spectrogram", action="store_true", help="ask for columns of mel bands")
    parser.add_argument("--model_dir", help="the model (the bundled one)")
    parser.add_argument("--out", type=Path, default=Path("docs/results/serve"))
    for name in ("sound", "address"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--begin", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.client is not None:
        args.streams = args.streams[0]
        asyncio.run(client(args))
        return
    lines = [
        "| streams | delay p50 ms | p99 ms | longest ms | server CPU | MB | load of the machine |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.npy"
        np.save(sound, read_sound(args.dataset, args.rate, 120.0))
        for streams in args.streams:
            row = measure(streams, args, sound)
            rows.append(row)
            lines.append(
                f"| {streams} | {row['p50_ms']} | {row['p99_ms']} | {row['most_ms']} | "
                f"{100 * row['cpu']:.0f} % | {row['resident_mb']:.0f} | {row['load']:.1f} |"
            )
            print(lines[-1], flush=True)
    words = f"python benchmarks/serve_streams.py path/to/ESC-10 --rate {args.rate}"
    words += " --spectrogram" * args.spectrogram
    text = " ".join(__doc__.splitlines()[4:]).strip()
    notes = how(words, cores=1)
    write_json(args.out.with_suffix(".json"), {"rows": rows, "rate": args.rate})
    whole = ["# How many live streams one core serves", "", text, "", *lines, "", *notes]
    write_text(args.out.with_suffix(".md"), "\n".join(whole) + "\n")


if __name__ == "__main__":
    main()
