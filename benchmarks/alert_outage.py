"""Whether alerts are lost or come twice while a broker and a web server are away for a minute.

    python -m benchmarks.alert_outage path/to/ESC-10

`earmark stream --realtime` hears recordings laid end to end and alerts a real mosquitto and a web
server of every event. Both are stopped after 45 seconds and started again after 105. With --kill,
Earmark is killed (SIGKILL) after 75 seconds and started again with the recording's begin.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from tests.alerts.builders import Broker, Hook, Listener

from earmark.io import decode
from earmark.io.append import read_objects
from earmark.io.paths import walk

RATE = 44_100
AWAY, KILLED, BACK = 45.0, 75.0, 105.0  # seconds
RULES = """
[[rule]]
name = "every event"
cooldown_seconds = 0
when = "{when}"
[mqtt]
port = {port}
node = "n"
discovery_prefix = ""
[webhook]
url = "{url}"
"""


def lay_out(dataset: Path, seconds: float, path: Path) -> None:
    """Write recordings end to end."""
    parts, have = [], 0.0
    files = walk(dataset).files
    for clip in files[:: max(1, int(5 * len(files) / seconds) - 1)]:  # clips of five seconds
        parts.append(decode.read(clip, RATE, allow_silence=True))
        have += len(parts[-1]) / RATE
        if have > seconds:
            break
    soundfile.write(path, np.concatenate(parts), RATE, subtype="PCM_16")


def begin(folder: Path) -> subprocess.Popen[bytes]:
    """Start Earmark."""
    words = ["stream", "--file", "long.wav", "--realtime", "--alerts", "rules.toml"]
    return subprocess.Popen(
        [sys.executable, "-m", "earmark.cli", *words, "--keep", "heard"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main() -> None:
    """Measure, and print a row for each target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="folder of recordings")
    parser.add_argument("--seconds", type=float, default=190.0)
    parser.add_argument("--when", choices=("onset", "offset"), default="onset")
    parser.add_argument("--kill", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lay_out(args.dataset, args.seconds, folder / "long.wav")
        broker, hook = Broker(folder), Hook()
        broker.start()
        listener = Listener(broker.port)
        rules = RULES.format(when=args.when, port=broker.port, url=hook.url)
        (folder / "rules.toml").write_text(rules)
        started, process = time.monotonic(), begin(folder)

        def sleep_until(second: float) -> None:
            time.sleep(max(0.0, started + second - time.monotonic()))

        sleep_until(AWAY)
        broker.stop()
        hook.stop()
        if args.kill:
            sleep_until(KILLED)
            process.kill()
            process.wait()
            process = begin(folder)
        sleep_until(BACK)
        before = {"MQTT": len(listener.ids), "webhook": len(hook.taken)}
        waited = {
            name: len(waiting(folder / "rules.outbox" / file))
            for name, file in (("MQTT", "mqtt.jsonl"), ("webhook", "webhook.jsonl"))
        }
        again = Hook(port=hook.port)
        broker.start()
        came = {"MQTT": lambda: listener.ids, "webhook": lambda: hook.taken + again.taken}
        back, there = time.monotonic(), dict[str, float]()
        while process.poll() is None:
            for name, ids in came.items():
                if name not in there and len(ids()) >= before[name] + waited[name]:
                    there[name] = time.monotonic() - back
            time.sleep(0.05)
        time.sleep(2.0)
        events = [row["id"] for row in read_objects(folder / "heard" / "events.jsonl")]
        for name, ids in came.items():
            told = [one.rpartition(".")[0] for one in ids()]
            print(
                f"| {name}{', Earmark killed' if args.kill else ''} | {len(events)} | {len(told)} "
                f"| {waited[name]} | {len(set(events) - set(told))} "
                f"| {len(told) - len(set(told))} | {there.get(name, float('nan')):.1f} s |"
            )
        listener.stop()
        broker.stop()
        again.stop()


def waiting(outbox: Path) -> set[str]:
    """Return the alerts that wait in an outbox."""
    found = set()
    for line in outbox.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found |= {row["put"]} if "put" in row else set()
        found -= {row.get("out")}
    return found


if __name__ == "__main__":
    main()
