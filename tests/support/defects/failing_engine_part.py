"""The service with an engine supervisor that fails by a defect. Run it like the service, with `serve`."""

from app.cli import main
from app.engine.supervisor import Supervisor


async def fail(_: Supervisor) -> None:
    """Raise an error as a defect would."""
    raise AssertionError("a defect of the supervisor")


if __name__ == "__main__":
    Supervisor.run = fail  # type: ignore[method-assign,assignment]
    main.main()
