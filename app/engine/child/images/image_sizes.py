"""Limits on the size of every image and page, and on the CPU time of checking one image."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from app.engine.contract.reading_options import PageRange
from app.engine.contract.recognition_call import ImageLimits
from app.errors import ImageTooLarge, PagesBeyondEnd, UnreadableImage

MAX_SIDE_PIXELS = 20_000
"""The longest side of a page, in pixels. The vendor's library fails on 100,000 x 1 pixels after 17 s."""
CHECK_SECONDS = 60
"""The CPU time for checking one image. Without this limit, a crafted file can keep a parser busy for hours."""

REPEAT_SECONDS = 1.0


def check_size(width: int, height: int, limits: ImageLimits, what: str = "a page") -> None:
    """Raise ImageTooLarge or UnreadableImage if a page or a picture cannot be read at this size, in pixels."""
    size = f"{what} of {width} x {height} pixels"
    if max(width, height) > MAX_SIDE_PIXELS:
        raise ImageTooLarge(size, f"{MAX_SIDE_PIXELS} on a side")
    if width * height > limits.max_pixels:
        raise ImageTooLarge(size, f"{limits.max_pixels} pixels (OCR_MAX_IMAGE_PIXELS)")
    if min(width, height) < 1:
        raise UnreadableImage(f"it has {size}")


def select_pages(pages: tuple[PageRange, ...] | None, total: int, limits: ImageLimits) -> list[int]:
    """Return the numbers of the pages to read, counted from 1, in order and each once.

    Raises UnreadableImage if there is no page, PagesBeyondEnd if a range has no page, and ImageTooLarge.
    """
    if total < 1:
        raise UnreadableImage("it has no pages")
    chosen: set[int] = set()
    for each in pages or (PageRange(1),):
        if each.first > total:
            raise PagesBeyondEnd(each.first, total)
        chosen.update(range(each.first, min(each.last or total, total) + 1))
    if len(chosen) > limits.max_pages:
        raise ImageTooLarge(
            f"{len(chosen)} pages", f"{limits.max_pages} in one call (OCR_MAX_IMAGE_PAGES); choose with pages="
        )
    return sorted(chosen)


@contextmanager
def limited_time(seconds: float = CHECK_SECONDS) -> Iterator[None]:
    """Raise ImageTooLarge in the `with` block after `seconds` of CPU time. Only for the main thread.

    A signal interrupts Python code. The signal is repeated each second, because a parser may swallow the exception. The
    signal does not interrupt a single call of a C library; the deadline of the engine's call bounds such a call.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise ImageTooLarge("a structure that takes too long to check", f"{seconds:g} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, REPEAT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
