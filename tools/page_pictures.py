"""Takes the pictures of the live page that the documentation shows, in docs/images.

    python tools/page_pictures.py path/to/ESC-10 path/to/ESC-50

A real `earmark serve` with the bundled model, and Chromium, whose microphone plays real recordings
one after the other. What is taught is trained for real. Look at the pictures before they are kept.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from playwright.sync_api import Page, sync_playwright

from earmark.io import decode
from earmark.io.files import write_bytes

RATE = 48_000  # of Chromium's microphone
PAUSE_SECONDS = 2.5
SCENE = (
    ("Rooster", "1-26806-A.ogg"),
    ("Dog bark", "1-30344-A.ogg"),
    ("Church bells", "1-13571-A.ogg"),
    ("Glass breaking", "1-84536-A.ogg"),
    ("Siren", "1-31482-B.ogg"),
    ("Crow", "1-56234-A.ogg"),
)
LAST, ALMOST_LAST = "Crow", "Siren"  # while they sound, the pictures are taken
TAUGHT = {"my door": "Door knock", "the cat": "Cat", "tap": "Pouring water"}
CLIPS_TAUGHT = 5
FLAGS = (
    "--no-sandbox",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
)
LATE_MS = 300_000


def clips_of(folders: Sequence[Path], name: str) -> list[Path]:
    """Return the recordings of a class, whose folder is called `NUMBER - NAME`."""
    for folder in folders:
        for one in sorted(folder.glob(f"* - {name}")):
            return sorted(one.glob("*.ogg"))
    raise SystemExit(f"no folder of {name}")


def lay_scene(folders: Sequence[Path], path: Path) -> None:
    """Write the recordings of the scene one after the other."""
    parts = [np.zeros(RATE, np.float32)]
    for name, file in SCENE:
        clips = clips_of(folders, name)
        clip = next(one for one in clips if one.name == file)
        sound = decode.read(clip, RATE)
        loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
        sound = sound[: loud[-1] + 1]
        parts += [0.7 * sound / np.abs(sound).max(), np.zeros(round(PAUSE_SECONDS * RATE), "f4")]
    soundfile.write(path, np.concatenate(parts), RATE, subtype="PCM_16")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Within, a server of its own answers at the address."""
    words = [sys.executable, "-m", "earmark.cli", "serve", "--port", "0"]
    server = subprocess.Popen(
        [*words, "--sounds", str(folder)], stdout=subprocess.PIPE, text=True, cwd=folder.parent
    )
    try:
        found = re.search(r"http://\S+/", server.stdout.readline() if server.stdout else "")
        if found is None:
            raise SystemExit("the server did not start")
        yield found[0]
    finally:
        server.terminate()
        server.wait(20)


def keep(picture: bytes, path: Path) -> None:
    """Write a picture with 256 colours, which is a third of its size."""
    from PIL import Image

    image = Image.open(io.BytesIO(picture)).convert("RGB")
    small = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    write_bytes(path, file.getvalue())
    print(f"{path}: {len(file.getvalue()):,} bytes", flush=True)


def listen(page: Page, address: str, until: str) -> None:
    """Open the page and listen until a sound is named."""
    page.goto(address)
    page.locator("#listen").click()
    page.locator("#label", has_text=until).wait_for(timeout=LATE_MS)
    page.wait_for_timeout(1000)


def teach(page: Page, folders: Sequence[Path], path: Path) -> None:
    """Teach, train, and take the picture of the teaching part."""
    for label, name in TAUGHT.items():
        page.locator("#class-name").fill(label)
        page.set_input_files("#clips", clips_of(folders, name)[:CLIPS_TAUGHT])
        row = page.locator("#taught li", has_text=label).get_by_text(f"{CLIPS_TAUGHT} clips")
        row.wait_for(timeout=LATE_MS)
    page.locator("#class-name").fill("")
    page.locator("#train").click()
    page.locator("#take").wait_for(timeout=LATE_MS)
    page.locator("#review").click()
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    keep(page.locator("#teach").screenshot(), path)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="of classes, NUMBER - NAME")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as started:
        scene = Path(place) / "scene.wav"
        lay_scene(args.folders, scene)
        flags = [*FLAGS, f"--use-file-for-fake-audio-capture={scene}"]
        browser = started.chromium.launch(executable_path=chromium, args=flags)

        def opened(width: int, height: int, scheme: Any) -> Page:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            return context.new_page()

        with served(Path(place) / "earmark-sounds") as address:
            page = opened(1120, 900, "light")
            listen(page, address, LAST)
            keep(page.screenshot(), args.out / "serve-light.png")
            page.locator("#listen").click()
            teach(page, args.folders, args.out / "serve-teach.png")
            page.context.close()
            for name, width, height, scheme, until in (
                ("serve-dark", 1120, 900, "dark", ALMOST_LAST),
                ("serve-phone", 390, 1000, "light", LAST),
            ):
                page = opened(width, height, scheme)
                listen(page, address, until)
                keep(page.screenshot(), args.out / f"{name}.png")
                page.context.close()
        browser.close()


if __name__ == "__main__":
    main()
