"""Judges what `soak.py` measured: the idle service after the warm-up and at the end, and two quarters of the run."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Row = Mapping[str, float | None]


@dataclass(frozen=True)
class Quantity:
    """One quantity, and by how much it may grow before it counts as a leak."""

    name: str
    label: str
    share: float
    """The growth that is allowed as a share of the earlier value."""
    more: float
    """The growth that is allowed beyond the share, for quantities of small numbers."""


QUANTITIES = (
    Quantity("service_mb", "service, private MB", 0.05, 5),
    Quantity("engine_mb", "engine, private MB", 0.25, 50),
    Quantity("descriptors", "descriptors", 0, 5),
    Quantity("threads", "threads", 0, 3),
    Quantity("store_files", "files in `.store/`", 0.2, 20),
    Quantity("store_mb", "MB in `.store/`, without the journal", 0.3, 3),
    Quantity("state_files", "files in the state folder", 0, 5),
)
IDLE = (
    Quantity("service_mb", "service, private MB", 0, 6),
    Quantity("descriptors", "descriptors", 0, 5),
    Quantity("threads", "threads", 0, 8),
    Quantity("store_files", "files in `.store/`", 0, 10),
    Quantity("store_mb", "MB in `.store/`, without the journal", 0, 1),
    Quantity("state_files", "files in the state folder", 0, 5),
)
"""What an idle service may use more than before. The engine process is not among them: it ends now and then. Python
keeps up to six threads for asyncio, each from its first use on, and the last ones may begin after the warm-up."""


@dataclass(frozen=True)
class Verdict:
    """The values of one quantity at two times."""

    quantity: Quantity
    before: float
    after: float

    @property
    def allowed(self) -> float:
        """The largest later value that counts as flat."""
        return self.before * (1 + self.quantity.share) + self.quantity.more

    @property
    def is_flat(self) -> bool:
        """Whether the quantity did not grow."""
        return self.after <= self.allowed

    def as_row(self) -> tuple[str, str, str, str, str]:
        """Return the cells of a table's row."""
        figures = (f"{value:,.1f}" for value in (self.before, self.after, self.allowed))
        return (self.quantity.label, *figures, "flat" if self.is_flat else "GREW")  # type: ignore[return-value]


def judged_idle(before: Row, after: Row) -> list[Verdict]:
    """Return a verdict for each quantity of an idle service."""
    return [Verdict(each, before[each.name] or 0, after[each.name] or 0) for each in IDLE]


def judged(rows: Sequence[Row]) -> list[Verdict]:
    """Return a verdict for each quantity: its medians in the second and in the last quarter of the run."""
    quarter = len(rows) // 4
    return [
        Verdict(
            each,
            _median(rows[quarter : 2 * quarter], each.name),
            _median(rows[-quarter:], each.name),
        )
        for each in QUANTITIES
    ]


def _median(rows: Sequence[Row], name: str) -> float:
    return statistics.median(value for row in rows if (value := row[name]) is not None)
