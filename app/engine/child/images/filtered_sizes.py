"""The size of a page after the filters, computed before they run: a filter may enlarge a page beyond every limit."""

import math

from app.engine.child.images.image_sizes import check_size
from app.engine.contract.reading_options import FilterName, ImageFilter
from app.engine.contract.recognition_call import ImageLimits, RecognitionOptions
from app.errors import RegionOutsidePage


def check_regions(size: tuple[int, int], options: RecognitionOptions, limits: ImageLimits) -> None:
    """Check a page's size after each filter, and that the regions lie on the page.

    Raises ImageTooLarge, UnreadableImage and RegionOutsidePage.
    """
    for each in options.filters:
        size = size_after(size, each)
        check_size(*size, limits, f"after the filter {each}, a page")
    if options.auto_skew:
        return  # the page is turned by an angle that is not known yet
    width, height = size
    for region in options.regions:
        if region.x + region.width > width or region.y + region.height > height:
            raise RegionOutsidePage(str(region), width, height)


def size_after(size: tuple[int, int], each: ImageFilter) -> tuple[int, int]:
    """Return the size of an image after a filter, in pixels. Turning an image enlarges it until its corners fit."""
    width, height = size
    match each.name, each.values:
        case FilterName.SCALE, (factor,):
            return int(width * factor), int(height * factor)
        case FilterName.RESIZE, (new_width, new_height):
            return int(new_width), int(new_height)
        case FilterName.ROTATE, (degrees,):
            turn = math.radians(degrees)
            cosine, sine = abs(math.cos(turn)), abs(math.sin(turn))
            return math.ceil(width * cosine + height * sine - 0.01), math.ceil(width * sine + height * cosine - 0.01)
    return size
