"""Runs the command line with a defect in each background part, each of which raises once.

This is a fake, because no part of the service is known to fail.
"""

import functools
from typing import Any

from app.cli.main import main
from app.jobs.folder import Jobs
from app.store.locks.model_locks import ModelLocks
from app.store.protections import Protections
from app.store.store import Store

DEFECTS = ((Store, "sweep"), (Jobs, "unfinished_of_units"), (ModelLocks, "retake_lost_leases"), (Protections, "manual"))
"""The methods that raise: of the sweeper, the jobs, the volume's monitor and the inventory."""
AT_CALL = 2


def raise_once(owner: type, name: str) -> None:
    """Let one call of a method raise an error as a defect would."""
    method, calls = getattr(owner, name), 0

    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == AT_CALL:
            raise RuntimeError(f"the test's defect in {name}")
        return method(*arguments, **options)

    setattr(owner, name, call)


if __name__ == "__main__":
    for owner, name in DEFECTS:
        raise_once(owner, name)
    main()
