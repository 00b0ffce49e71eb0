"""Checks whether this machine can run the service."""

import os
import sys


def platform_problem() -> str | None:
    """Return why the service cannot run on this machine, or None if it can."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return (
            "AsposeAI and the store's locks need Linux on x86-64, and this is "
            f"{sys.platform} on {os.uname().machine}; use the Docker image"
        )
    return None
