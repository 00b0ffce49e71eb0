"""The options of routes that read an image: parameters of the query, or fields of the form."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic.json_schema import SkipJsonSchema

from app.api.http.schema import StringForm
from app.engine.contract.recognition_call import RecognitionOptions

LANGUAGE = StringForm(
    "^[a-z_]{3,16}$",
    "must be a name that AsposeAI has for a language or script, in lower case, such as eng, deu, latin or ext_latin",
)
PAGES = StringForm(
    r"^[1-9][0-9]{0,5}(-[1-9][0-9]{0,5})?$",
    "must be one page, such as 3, or the first and the last page, such as 2-5",
)


class ImageQuery(BaseModel):
    """How to read an image, for text or for tables."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    language: Annotated[str, LANGUAGE] = "latin"
    """A language (`eng`, `deu`) or a script (`latin`, `ext_latin`). Scripts other than Latin need a further file."""
    auto_skew: bool = False
    """Turn skewed pages upright. The engine garbles some pages that are already upright."""
    upscale: bool = False
    """Enlarge small text before recognition."""
    pages: Annotated[str | SkipJsonSchema[None], PAGES] = None
    """The pages of a TIFF or PDF to read: one (`3`), or the first and the last (`2-5`)."""

    @classmethod
    def names(cls) -> frozenset[str]:
        """Return the names of the options."""
        return frozenset(cls.model_fields)

    @property
    def page_range(self) -> tuple[int, int] | None:
        """The first and the last page to read; None for all."""
        return None if self.pages is None else _range_of(self.pages)

    def to_table_options(self) -> RecognitionOptions:
        """Return the engine's options for tables."""
        return RecognitionOptions(
            self.language, "universal", self.auto_skew, self.upscale, self.page_range, None, tables=True
        )

    @field_validator("pages")
    @classmethod
    def _in_order(cls, pages: str | None) -> str | None:
        if pages is not None and (found := _range_of(pages)) and found[0] > found[1]:
            raise ValueError("the first page comes after the last; write the smaller number first, such as 2-5")
        return pages


def _range_of(pages: str) -> tuple[int, int]:
    first, _, last = pages.partition("-")
    return int(first), int(last or first)
