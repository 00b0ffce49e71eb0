"""Notes of the API on an OCR model: what it is needed for, and why recognition does not use it."""

from pathlib import PurePosixPath
from typing import Annotated

from app.api.http.deps import part
from app.api.models.schemas import NeededForOut
from app.engine.contract.ocr_models import is_ocr_model, why_not_found
from app.engine.ocr_model_refusals import OcrModelRefusals
from app.engine.wheel.installed_wheel import InstalledWheel
from app.store import Model


class OcrModelNotes:
    """Knows which OCR models the vendor's package asks for, and which it has refused."""

    def __init__(self, wheel: InstalledWheel, refusals: OcrModelRefusals) -> None:
        self._wheel = wheel
        self._refusals = refusals

    def needed_for(self, name: str) -> NeededForOut | None:
        """Return which languages, areas, methods and filters need an OCR model with this file name, in any folder.

        None for a model that is not an OCR model, and while the facts of the vendor's package are not known.
        """
        if self._wheel.facts is None or not is_ocr_model(name):
            return None
        uses = self._wheel.facts.uses_of(PurePosixPath(name).name)
        return NeededForOut(**{group: uses.get(group, []) for group in NeededForOut.model_fields})

    def needed(self) -> frozenset[str]:
        """Return the file names of the OCR models that the package asks for; none while its facts are not known."""
        return self._wheel.facts.ocr_models if self._wheel.facts else frozenset()

    def remark(self, model: Model) -> str | None:
        """Return why recognition does not use an OCR model; None if nothing prevents it, and for all other models."""
        if self._refusals.is_refused(model.name, model.size_bytes):
            return (
                f"AsposeOCR refused this file in a recognition: it has {model.size_bytes:,} bytes, not the size that "
                "its version expects; replace it with POST /pulls and if_exists=replace"
            )
        return why_not_found(model.name)


OcrModelNotesDep = Annotated[OcrModelNotes, part("ocr_model_notes")]
