"""Which pages are chosen, and how large a page is after filters."""

import pytest
from PIL import Image

from app.engine.child.images.filtered_sizes import check_regions, size_after
from app.engine.child.images.image_sizes import select_pages
from app.engine.contract.reading_options import FilterName, ImageFilter, PageRange, Region
from app.engine.contract.recognition_call import ImageLimits, RecognitionOptions
from app.errors import ImageTooLarge, PagesBeyondEnd, RegionOutsidePage

LIMITS = ImageLimits(max_pixels=1_000_000, max_pages=5)


@pytest.mark.parametrize(
    ("ranges", "numbers"),
    [
        (None, [1, 2, 3, 4]),
        ((PageRange(2, 2),), [2]),
        ((PageRange(3), PageRange(1, 1)), [1, 3, 4]),
        ((PageRange(1, 3), PageRange(2, 9)), [1, 2, 3, 4]),
    ],
)
def test_pages_are_read_once_and_in_order(ranges: tuple[PageRange, ...] | None, numbers: list[int]) -> None:
    """Ranges may overlap, stand in any order and end beyond the last page."""
    assert select_pages(ranges, 4, LIMITS) == numbers


def test_pages_that_cannot_be_read() -> None:
    """A range that begins beyond the end is refused, and so are more pages than the limit."""
    with pytest.raises(PagesBeyondEnd, match=r"Page 7 was requested, and the last page is 4"):
        select_pages((PageRange(1, 1), PageRange(7, 9)), 4, LIMITS)
    with pytest.raises(ImageTooLarge, match="6 pages"):
        select_pages((PageRange(1, 3), PageRange(8)), 10, LIMITS)


@pytest.mark.parametrize("degrees", [90, -90, 180, 30, -3.5, 360])
def test_the_size_of_a_turned_page(degrees: float) -> None:
    """A page that is turned is as large as Pillow makes it."""
    turned = Image.new("L", (400, 100)).rotate(degrees, expand=True).size

    found = size_after((400, 100), ImageFilter(FilterName.ROTATE, (degrees,)))

    assert all(abs(one - other) <= 2 for one, other in zip(found, turned, strict=True))


def test_regions_count_in_the_filtered_page() -> None:
    """A region must be on the page, in pixels after the filters."""
    region, double = Region(0, 0, 500, 150), ImageFilter(FilterName.SCALE, (2,))
    options = {"regions": (region,), "filters": (double,)}
    asked = RecognitionOptions("eng", "lean", auto_skew=False, upscale=False, pages=None, save_as=None, **options)  # type: ignore[arg-type]

    check_regions((250, 75), asked, LIMITS)
    with pytest.raises(RegionOutsidePage, match=r"The region 0,0,500,150 .* 498 x 148 pixels"):
        check_regions((249, 74), asked, LIMITS)


def test_a_filter_may_not_enlarge_a_page_beyond_the_limit() -> None:
    """The size of a page is checked after each filter, before the filters run."""
    back = (ImageFilter(FilterName.SCALE, (20,)), ImageFilter(FilterName.RESIZE, (10, 10)))
    asked = RecognitionOptions("eng", "lean", auto_skew=False, upscale=False, pages=None, save_as=None, filters=back)

    with pytest.raises(ImageTooLarge, match="after the filter scale:20, a page of 8000 x 2000"):
        check_regions((400, 100), asked, LIMITS)
