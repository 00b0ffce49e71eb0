"""The check `shared-locks`: do the locks of this service reach the other services on a shared volume, and theirs this?

`app.store.volume.service_registry` observes the other services; this module judges the observation, and the monitor
refuses changes by the result.
"""

import time

from app.store.volume.checks import CheckName, VolumeCheck
from app.store.volume.service_registry import HEARTBEAT_SECONDS, Services
from app.store.volume.volume import Volume


class SharedLocks:
    """The locks of this service on one shared volume. It blocks, and raises OSError."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._services = Services(volume.services_dir)
        self._beat_error: str | None = None

    def beat(self) -> None:
        """Rename this service's file in the registry, and look at the other services."""
        self._beat_error = "its services cannot be looked at"
        self._services.beat()
        self._beat_error = None

    def observe(self) -> None:
        """Look at the other services until all are judged or one is unreachable: about 4 s. Adds no file of its own."""
        self._services.look()
        while self._services.unjudged and not self._services.unreachable:
            time.sleep(HEARTBEAT_SECONDS / 2)
            self._services.look()

    def leave(self) -> None:
        """Delete this service's file in the registry."""
        self._services.leave()

    def check(self) -> VolumeCheck:
        """Return the check, as of the last look."""
        reason = self._problem()
        return VolumeCheck(CheckName.SHARED_LOCKS, reason is None, required=True, reason=reason)

    def _problem(self) -> str | None:
        """Why the locks of this service may not reach another one; None if they do."""
        if self._volume.file_system.keeps_locks_to_itself:
            return (
                "a client of CIFS does not tell its server of every lock, so that a model in use here could be deleted "
                "by another machine. Use another volume, or let one service alone use the folder and say so with "
                "OCR_SINGLE_SERVICE=true"
            )
        if self._beat_error:
            return self._beat_error
        if self._services.unreachable:
            return (
                "another service uses this folder, and its locks do not reach this machine. Use a volume with locks "
                "that do, or let one service alone use the folder and say so with OCR_SINGLE_SERVICE=true"
            )
        if self._services.unjudged:
            return "another service has left a file in .store/services, and it is not known yet whether it lives"
        return None
