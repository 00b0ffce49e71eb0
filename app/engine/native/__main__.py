"""Fetches the native libraries for an image: `python -m app.engine.native FOLDER RUNTIME`.

It needs only the standard library and the modules of this folder, so that a change elsewhere in `app` does not repeat
the download when the image is built. `python -m app provision` does the same with the settings of the service.
"""

import sys
from pathlib import Path

from app.engine.native.parts import Runtime
from app.engine.native.provisioning import provision


def main(folder: str, runtime: str) -> int:
    """Fill the folder. Return the exit status of `python -m app provision`."""
    status = 0
    for outcome in provision(Path(folder), Runtime(runtime)):
        sys.stdout.write(f"{outcome.sentence}\n")
        status = status or outcome.failure or 0
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
