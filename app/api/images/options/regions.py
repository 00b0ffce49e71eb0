"""The option `regions`: rectangles of a page, such as `10,20,300,40/10,80,300,40`."""

from app.api.http.schema import StringForm
from app.engine.contract.reading_options import Region

MAX_REGIONS = 100
REGION = "[0-9]{1,5},[0-9]{1,5},[1-9][0-9]{0,4},[1-9][0-9]{0,4}"
REGIONS = StringForm(
    f"^{REGION}(/{REGION}){{0,{MAX_REGIONS - 1}}}$",
    f"must be rectangles as x,y,width,height in pixels with slashes between them, at most {MAX_REGIONS}, such as "
    "10,20,300,40/10,80,300,40",
)
"""The form of the option `regions`."""


def regions_of(text: str) -> tuple[Region, ...]:
    """Return the regions in a value of the option, in order."""
    return tuple(Region(*map(int, each.split(","))) for each in text.split("/"))
