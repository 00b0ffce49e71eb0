"""The leases on the models that one engine process may use."""

from collections.abc import Callable, Container


class ProcessLeases:
    """The leases on the models that one process may use.

    They are released when the process has ended or its load has failed.
    """

    def __init__(self) -> None:
        self._leases: dict[str, Callable[[], None]] = {}
        self._is_over = False

    def __contains__(self, name: object) -> bool:
        """Return True if a lease on the model is held."""
        return name in self._leases

    def add(self, name: str, release: Callable[[], None]) -> None:
        """Add a lease on a model, given the function that releases the lease.

        After `end()` the function is called at once.
        """
        self._leases[name] = release
        if self._is_over:
            self.release()

    def end(self) -> None:
        """Release all leases, and from now on each lease as soon as it is added: the process has ended. Blocks."""
        self._is_over = True
        self.release()

    def release(self, but: Container[str] = ()) -> None:
        """Release the leases on all models except those in `but`. Blocks."""
        for name in [name for name in self._leases if name not in but]:
            if release := self._leases.pop(name, None):  # two threads may release at once
                release()
