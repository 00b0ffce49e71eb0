"""A hub whose CDN serves every labelled model, at once or slowly.

`python -m tests.support.crash.labelled_hub ADDRESS` runs one at the address, prints its URL, and ends when its input
ends.
"""

import sys
from urllib.parse import urlsplit

from tests.support.crash.labelled import content_of
from tests.support.hub import Fault, Hub

DRIP_SECONDS = 0.01


class LabelledHub(Hub):
    """Serves `/quick/<label>/<size>` at once and `/drip/<label>/<size>` slowly."""

    def content_at(self, path: str) -> bytes | None:
        _, _, label, size_bytes = path.split("/")
        return content_of(label, int(size_bytes))

    def usual_at(self, path: str) -> Fault:
        return Fault(pause_seconds=DRIP_SECONDS if path.startswith("/drip/") else 0)


def path_of(label: str, size_bytes: int, *, is_quick: bool) -> str:
    """Return the path of a model on the hub."""
    return f"/{'quick' if is_quick else 'drip'}/{label}/{size_bytes}"


def label_of(url: str) -> str:
    """Return the label in the URL of a model on the hub."""
    return urlsplit(url).path.split("/")[2]


if __name__ == "__main__":
    with LabelledHub((sys.argv[1], sys.argv[1])) as hub:
        print(hub.cdn_url, flush=True)
        sys.stdin.read()
