"""Looks that reach past a client's cache, for the few decisions that rest on what is *not* there.

A client of a network file system remembers which names a folder has, and which it has not, for seconds. It drops that
when it changes the folder itself, and it asks the server for a listing then.
"""

import secrets
from pathlib import Path

PROBE_PREFIX = ".look-"


def names_on_server(folder: Path) -> set[str]:
    """The names in a folder as its server has them now. Costs a file made and removed, so it is for shared volumes.

    Raises OSError, FileNotFoundError included.
    """
    probe = folder / f"{PROBE_PREFIX}{secrets.token_hex(8)}"
    probe.touch(exist_ok=False)
    probe.unlink()
    return {path.name for path in folder.iterdir() if not path.name.startswith(PROBE_PREFIX)}
