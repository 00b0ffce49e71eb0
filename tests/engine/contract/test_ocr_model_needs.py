"""Which recognitions may open OCR models, by the facts of the vendor's package."""

from dataclasses import replace

import pytest

from app.engine.contract.ocr_model_needs import may_open_ocr_models
from app.engine.contract.reading_options import FilterName, ImageFilter, ReadingKind, ReadingMode
from app.engine.contract.recognition_call import RecognitionOptions
from app.engine.contract.wheel_facts import newest_known_facts

FACTS = newest_known_facts()
PLAIN = RecognitionOptions("latin", "universal", auto_skew=False, upscale=False, pages=None, save_as=None)


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        replace(PLAIN, language="deu", areas="lean", auto_skew=True, detects_skew=True, tables=True),
        replace(PLAIN, mode=ReadingMode.FAST),
        replace(PLAIN, kind=ReadingKind.PASSPORT),
        replace(PLAIN, filters=tuple(ImageFilter(name) for name in FilterName)),
    ],
)
def test_what_works_without_ocr_models_opens_none(options: RecognitionOptions) -> None:
    """Latin script, the areas of the package and its filters need no OCR model."""
    assert not may_open_ocr_models(options, FACTS)


@pytest.mark.parametrize(
    "options",
    [
        replace(PLAIN, language="rus"),
        replace(PLAIN, areas="table"),
        replace(PLAIN, kind=ReadingKind.RECEIPT),
        replace(PLAIN, kind=ReadingKind.HANDWRITING),
        replace(PLAIN, language="elvish"),
    ],
)
def test_what_needs_one_or_is_not_known_may_open_any(options: RecognitionOptions) -> None:
    """A function that needs an OCR model may open any, and so may one that the facts do not have."""
    assert may_open_ocr_models(options, FACTS)


def test_a_method_that_the_package_does_not_have_may_open_any() -> None:
    """If the facts lack the vendor's method, it is not known what the method opens."""
    assert may_open_ocr_models(PLAIN, replace(FACTS, methods={}))
