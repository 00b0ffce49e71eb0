"""AsposeAI as the worker serves it. The only module that imports the vendor; nobody imports this one.

What the vendor's calls really do, as measured with aspose-ocr-python-net 26.10.0, is in docs/engine.md.
"""

import importlib.metadata
from pathlib import Path
from typing import Any

from aspose.ocr import License
from aspose.ocr.ai import AsposeAI

from app.engine.runtime import missing_for_ai, missing_for_recognition

DISTRIBUTION = "aspose-ocr-python-net"


class AsposeAIEngine:
    """One long-lived AsposeAI and its license. Every method blocks, with the GIL held."""

    def __init__(self) -> None:
        self._ai: AsposeAI | None = None

    def apply_license(self, path: str) -> None:
        """Apply a license file. Raises RuntimeError when it is missing or no license.

        The vendor verifies it with OpenSSL 1.1 and aborts the process where that is missing, so ask before.
        """
        if reason := missing_for_recognition():
            msg = f"the license file {path} was not read: {reason}"
            raise RuntimeError(msg)
        License().set_license(path)

    def start(self) -> None:
        """Build the instance, after the license: a license applied later would not count."""
        self._ai = AsposeAI()

    def status(self) -> dict[str, Any]:
        """Everything `app.engine.messages.Facts` holds, in one call of about a millisecond."""
        ai = self._started()
        local_path = Path(ai.get_local_path())
        # The vendor raises when the folder is gone, which is the store's to report.
        listed = [str(path) for path in ai.list_local()] if local_path.is_dir() else []
        return {
            "vendor_package": DISTRIBUTION,
            "vendor_version": importlib.metadata.version(DISTRIBUTION),
            "is_licensed": bool(License().is_licensed),
            "local_path": str(local_path.resolve()),
            "list_local": listed,
            "recognised": [Path(path).relative_to(local_path).as_posix() for path in listed],
            "is_initialized": bool(ai.is_initialized()),
            "capabilities": [
                _capability("models", None),
                _capability("ai", missing_for_ai()),
                _capability("recognition", missing_for_recognition()),
            ],
        }

    def free_resources(self) -> None:
        """Call the vendor's `free_resources()`. It frees no memory: only the end of this process does."""
        self._started().free_resources()

    def _started(self) -> AsposeAI:
        if self._ai is None:
            msg = "the engine was not started"
            raise RuntimeError(msg)
        return self._ai


def _capability(name: str, missing: str | None) -> dict[str, Any]:
    return {"name": name, "available": missing is None, "reason": missing}
