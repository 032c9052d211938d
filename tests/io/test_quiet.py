"""C libraries print nothing while mp3 is decoded, and everyone else prints as ever."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tests.io.encoded import encoded, mp3_frames, noise

CODE = """
    import os, sys, threading, warnings
    from pathlib import Path
    from earmark.io import decode
    warnings.simplefilter("ignore")
    def talk():
        for _ in range(200):
            print("python", file=sys.stderr, flush=True)
            os.write(2, b"descriptor\\n")
    thread = threading.Thread(target=talk)
    thread.start()
    for _ in range(5):
        try:
            for block in decode.read_blocks(Path(sys.argv[1]), 16_000, keep_truncated=True):
                pass
        except decode.AudioError:
            pass
    thread.join()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="its C library has no such variable")
def test_mpg123_is_silent_and_others_are_not(tmp_path):
    frames = mp3_frames(encoded("MP3", samples=noise(3.0), bitrate_mode="VARIABLE"))
    # Frames that refer to bytes of frames that are not there: mpg123 complains of each.
    path = tmp_path / "a.mp3"
    path.write_bytes(frames[0] + b"".join(frames[i] for i in range(3, len(frames), 2)))
    import soundfile

    loud = f"import soundfile; soundfile.read({str(path)!r})"
    talk = subprocess.run([sys.executable, "-c", loud], capture_output=True, text=True, check=False)
    assert "mpg123" in talk.stderr or "Warning" in talk.stderr  # else this tests nothing
    assert soundfile.info(path).samplerate == 16_000
    code = textwrap.dedent(CODE)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert sorted(set(lines)) == ["descriptor", "python"]
    assert len(lines) == 400
    assert np.unique(lines, return_counts=True)[1].tolist() == [200, 200]
