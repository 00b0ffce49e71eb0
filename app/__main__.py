"""The entry point of `python -m app` and of `ocr-models`: runs the command line."""

import os
import signal
import sys


def main() -> None:
    """Run the command line."""
    if "serve" in sys.argv[1:2]:
        # Python would answer Ctrl-C with a traceback. A service that is asked to end before it runs ends with 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: os._exit(0))
    from app.cli.main import main as run  # noqa: PLC0415 - after the signals

    run()


if __name__ == "__main__":
    main()
