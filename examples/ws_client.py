"""Send a recording to `earmark serve` at the speed of the sound, and print its events.

    earmark serve                                   # in another terminal
    pip install websockets soundfile
    python examples/ws_client.py dog.wav

docs/protocol.md describes the messages.
"""

import asyncio
import json
import struct
import sys

import numpy as np
import soundfile
import websockets


async def send(socket, samples, rate):
    """Send samples at the speed of the sound."""
    part, begun = rate // 10, asyncio.get_running_loop().time()  # a tenth of a second a message
    for number, first in enumerate(range(0, len(samples), part)):
        header = struct.pack("<BBHIQ", 1, 1, 0, number, first)
        await socket.send(header + samples[first : first + part].tobytes())
        await asyncio.sleep(begun + (first + part) / rate - asyncio.get_running_loop().time())
    await socket.send(json.dumps({"type": "end"}))


async def main(path, address="ws://127.0.0.1:8765/api/stream"):
    """Print the events of a recording."""
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    mono = samples.mean(axis=1).astype("<i2") if samples.shape[1] > 1 else samples[:, 0]
    async with websockets.connect(address) as socket:
        await socket.send(json.dumps({"type": "start", "protocol": 1, "sample_rate": rate}))
        sending = asyncio.create_task(send(socket, np.ascontiguousarray(mono), rate))
        async for message in socket:
            if isinstance(message, str) and json.loads(message)["type"] in ("event", "error"):
                print(message)
        await sending


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *sys.argv[2:]))
