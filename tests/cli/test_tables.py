"""Sizes and times for people, and ids that are cut short."""

import pytest

from app.cli.ids import AmbiguousId, one_of
from app.cli.tables import facts, size, table
from app.errors import TrashEntryNotFound

IDS = [{"id": each} for each in ("20261121T063713Z-3a56954a93f8", "20261121T063713Z-3b0000000000")]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_900_000_000, "1.9 GB"),
        (5 * 10**15, "5000.0 TB"),
    ],
)
def test_sizes_have_a_unit(count: int, text: str) -> None:
    """A size is a number below a thousand with a unit, as far as there are units."""
    assert size(count) == text


def test_a_table_has_sizes_at_the_right_and_times_to_the_second() -> None:
    """A column of sizes is aligned to the right under a heading without `_bytes`; a value that is missing is `-`."""
    rows = [
        {"name": "a", "size_bytes": 5, "made_at": "2026-11-21T06:37:13.123456Z", "is": True},
        {"name": "b", "size_bytes": 12_000, "made_at": "2026-11-21T06:37:13Z", "is": None},
    ]

    assert list(table(rows, ("name", "size_bytes", "made_at", "is"))) == [
        "name     size  made_at               is",
        "a         5 B  2026-11-21T06:37:13Z  yes",
        "b     12.0 kB  2026-11-21T06:37:13Z  -",
    ]


def test_the_members_of_an_object_have_a_line_each() -> None:
    """The members of objects within the object are named by both names."""
    assert list(facts({"state": "ready", "memory": {"resident_bytes": 2000}, "waits": []})) == [
        "state            ready",
        "memory.resident  2.0 kB",
        "waits            -",
    ]


@pytest.mark.parametrize("given", ["20261121T063713Z-3a56954a93f8", "20261121T063713Z-3a", "3a", "3a56954a93f8"])
def test_a_part_of_an_id_is_enough(given: str) -> None:
    """The whole id, its beginning, or the beginning of its random part names the one object."""
    assert one_of(IDS, given, TrashEntryNotFound) == "20261121T063713Z-3a56954a93f8"


def test_an_ambiguous_or_unknown_part_is_refused() -> None:
    """A part that several ids have names them; an unknown or empty one is not found."""
    with pytest.raises(AmbiguousId, match="3a56954a93f8, 20261121T063713Z-3b"):
        one_of(IDS, "3", TrashEntryNotFound)
    for given in ("4", ""):
        with pytest.raises(TrashEntryNotFound):
            one_of(IDS, given, TrashEntryNotFound)
