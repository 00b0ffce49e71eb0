"""The query parameters of routes that read an image."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, model_validator
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

    @property
    def page_range(self) -> tuple[int, int] | None:
        """The first and the last page to read; None for all."""
        if self.pages is None:
            return None
        first, _, last = self.pages.partition("-")
        return int(first), int(last or first)

    def to_table_options(self) -> RecognitionOptions:
        """Return the engine's options for tables."""
        return RecognitionOptions(
            self.language, "universal", self.auto_skew, self.upscale, self.page_range, None, tables=True
        )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.page_range and self.page_range[0] > self.page_range[1]:
            raise ValueError("pages: the first page comes after the last; write the smaller number first, such as 2-5")
        return self
