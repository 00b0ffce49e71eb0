"""An engine for the quick starts."""

from pathlib import Path
from typing import Any

from tests.support.engines import Reads


class Same(Reads):
    """An engine that finds one text in every image, because real recognition of a page takes seconds."""

    def recognise(self, image: str, **asked: Any) -> Any:
        Path(image).write_text("read Harbour Road Bookshop")
        return super().recognise(image, **asked)
