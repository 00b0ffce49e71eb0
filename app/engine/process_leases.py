"""The leases on the models that one engine process may use."""

from collections.abc import Callable, Container


class ProcessLeases:
    """The leases on the models that one process may use; released when the process has ended or its load has failed."""

    def __init__(self) -> None:
        self._leases: dict[str, Callable[[], None]] = {}

    def add(self, name: str, release: Callable[[], None]) -> None:
        """Keep the function that releases the lease on a model."""
        self._leases[name] = release

    def release(self, but: Container[str] = ()) -> None:
        """Release the leases on all models except those in `but`. Blocks."""
        for name in [name for name in self._leases if name not in but]:
            if release := self._leases.pop(name, None):  # two threads may release at once
                release()
