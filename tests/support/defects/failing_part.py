"""Runs the command line with a defect: the pulls' part of the service raises at its start.

This is a fake, because no part of the service is known to fail.
`RunningService(module="tests.support.defects.failing_part")`.
"""

from app.cli.main import main
from app.jobs.adopter import JobAdopter


async def fail(_: JobAdopter) -> None:
    """Raise an error as a defect would."""
    raise RuntimeError("the test's defect")


if __name__ == "__main__":
    JobAdopter.run = fail  # type: ignore[method-assign, assignment]
    main()
