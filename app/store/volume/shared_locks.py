"""The check `shared-locks`: whether the services on a shared volume see each other's locks.

`app.store.volume.service_registry` observes the other services; this module judges the observation, and the monitor
refuses changes if the check fails.
"""

import time

from app.store.volume.checks import CheckName, VolumeCheck
from app.store.volume.service_registry import HEARTBEAT_SECONDS, ServiceRegistry
from app.store.volume.volume import Volume


class SharedLocks:
    """Checks whether this service's locks on one shared volume reach the other services.

    Blocks. Raises StoreUnavailable and OSError.
    """

    def __init__(self, volume: Volume, registry: ServiceRegistry) -> None:
        self._volume = volume
        self._registry = registry
        self._beat_error: str | None = None

    def beat(self) -> None:
        """Rename this service's file in the registry, and look at the other services."""
        self._beat_error = "the other services on it cannot be observed"
        self._volume.check_folder(self._volume.services_dir)
        self._registry.beat()
        self._beat_error = None

    def observe(self) -> None:
        """Watch the other services until it is known which of them are alive, or until one is found unreachable.

        Takes up to about 4 s. Does not register this service.
        """
        self._registry.look()
        while self._registry.unjudged and not self._registry.unreachable:
            time.sleep(HEARTBEAT_SECONDS / 2)
            self._registry.look()

    def check(self) -> VolumeCheck:
        """Return the result of the check, from the last look at the services."""
        reason = self._problem()
        return VolumeCheck(CheckName.SHARED_LOCKS, reason is None, required=True, reason=reason)

    def _problem(self) -> str | None:
        """Return why the locks of this service may not reach another service; None if they reach all."""
        if self._volume.file_system.keeps_locks_to_itself:
            return (
                "a client of CIFS does not send every lock to its server, so that another machine could delete a model "
                "in use here. Use another volume; or let only one service use the folder, and set "
                "OCR_SINGLE_SERVICE=true"
            )
        if self._beat_error:
            return self._beat_error
        if self._registry.unreachable:
            return (
                "another service uses this folder, and its locks do not reach this machine. Use a volume with locks "
                "between machines; or let only one service use the folder, and set OCR_SINGLE_SERVICE=true"
            )
        if self._registry.unjudged:
            return "another service has a file in .store/services, and it is not known yet whether that service lives"
        return None
