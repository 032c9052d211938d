"""The command `earmark`, also as `python -m earmark`: Ctrl-C ends it quietly from the first moment.

Python raises Ctrl-C wherever it is, so one while modules are imported would print their lines.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_INTERRUPTED = 130  # what a shell reports for Ctrl-C


def main() -> int:
    """Run the command; return its exit code."""
    raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # it may be ignored
    if raises:
        signal.signal(signal.SIGINT, _leave)
    from earmark import cli

    if raises:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return cli.main()
    except KeyboardInterrupt:  # before the command itself has begun
        return _INTERRUPTED


def _leave(_: int, __: FrameType | None) -> None:
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
