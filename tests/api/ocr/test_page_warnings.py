"""The header that lists the warnings of all pages."""

from app.api.images.page_warnings import MAX_HEADER_CHARS, PAGE_WARNINGS, PageWarningOut, warnings_header
from app.engine.contract.page_warnings import PageWarningCode

CUT, SKEWED = (
    PageWarningOut(code=code, detail="a sentence") for code in (PageWarningCode.IMAGE_CUT_SHORT, PageWarningCode.SKEWED)
)


def test_each_warning_has_its_page() -> None:
    """The header lists each warning with the number of its page, and is missing if there are no warnings."""
    header = warnings_header([(2, [SKEWED, CUT]), (3, []), (4, [CUT])])

    assert header == {PAGE_WARNINGS: "skewed;page=2, image-cut-short;page=2, image-cut-short;page=4"}
    assert warnings_header([(1, []), (2, [])]) == {}


def test_the_header_does_not_grow_without_bound() -> None:
    """Of a thousand warnings the header has the first ones, and the number of the others."""
    header = warnings_header((number, [CUT]) for number in range(1, 1001))[PAGE_WARNINGS]

    *items, last = header.split(", ")
    assert len(header) <= MAX_HEADER_CHARS + 20
    assert items[-1] == f"image-cut-short;page={len(items)}"
    assert last == f"more;count={1000 - len(items)}"
