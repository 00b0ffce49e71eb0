"""Runs the command line with a defect: the part of the service that works on jobs raises at its start.

This is a fake, because no part of the service is known to fail.
`RunningService(module="tests.support.defects.failing_part")`.
"""

from app.cli.main import main
from app.jobs.units.unit_runner import UnitRunner


async def fail(_: UnitRunner) -> None:
    """Raise an error as a defect would."""
    raise RuntimeError("the test's defect")


if __name__ == "__main__":
    UnitRunner.run = fail  # type: ignore[method-assign, assignment]
    main()
