"""The conversion of the vendor's results to fields, for cases that need a licence."""

from dataclasses import dataclass, field, replace

import pytest

from app.engine.child.results import character_warnings, in_pixels_of_page, page_fields, skew_warnings
from app.engine.contract.reading_options import Region
from app.engine.contract.recognition_call import RecognitionOptions

OPTIONS = RecognitionOptions("latin", "universal", auto_skew=False, upscale=False, pages=None, save_as=None)
NOTICE = "\n ************* Trial Licenses ************* \n"


@dataclass
class Result:
    """The parts of the vendor's result for one page that `page_fields` reads."""

    recognition_text: str
    serializable_image: bytearray | None = None
    recognition_lines_result: list[object] = field(default_factory=list)
    recognition_regions_result: list[object] = field(default_factory=list)


@dataclass
class RegionResult:
    """The parts of the vendor's result for one region that `page_fields` reads."""

    text_in_region: str
    region: Region


def test_with_a_licence_the_text_is_left_alone() -> None:
    """With a licence the text is unchanged, even if it contains the text of the evaluation notice."""
    page = page_fields(Result("Read:" + NOTICE), 1, is_licensed=True, skew=None)

    assert page["text"] == "Read:\n ************* Trial Licenses ************* "
    assert not page["truncated_by_evaluation"]


def test_without_one_only_the_notice_at_the_end_is_taken_off() -> None:
    """Without a licence only the notice at the end of the text is removed."""
    page = page_fields(Result("a" + NOTICE + "b" + NOTICE), 1, is_licensed=False, skew=None)

    assert page["text"] == "a" + NOTICE + "b"
    assert page["truncated_by_evaluation"]


def test_a_turned_page_has_a_warning_that_names_the_filter() -> None:
    """From one degree on, in either direction, a warning says how to turn the page upright."""
    assert skew_warnings(None) == skew_warnings(0.9) == skew_warnings(-0.9) == []
    (warning,) = skew_warnings(-2.78)
    assert "filters=rotate:-2.8" in warning.detail


def test_a_part_of_a_second_notice_is_taken_off() -> None:
    """With regions the vendor cuts the text with its notice, and appends the notice again."""
    for rest in ("\n ****", "\n ************* Trial Licen"):
        page = page_fields(Result("a page" + rest + NOTICE), 1, is_licensed=False, skew=None)

        assert page["text"] == "a page"
        assert page["truncated_by_evaluation"]


def test_boxes_of_a_page_that_the_vendor_stretched_are_in_pixels_of_the_page() -> None:
    """Sizes and boxes are converted from the vendor's 1000 x 1000 pixels; those in pixels of the page stay."""
    box = {"x": 50, "y": 500, "width": 100, "height": 200}
    fields = {"width": 1000, "height": 1000, "lines": [{"text": "a", "box": box.copy()}], "regions": []}

    in_pixels_of_page(fields, (1000, 1000))
    assert fields["lines"] == [{"text": "a", "box": box}]
    in_pixels_of_page(fields, (420, 110))

    assert (fields["width"], fields["height"]) == (420, 110)
    assert fields["lines"] == [{"text": "a", "box": {"x": 21, "y": 55, "width": 42, "height": 22}}]


def test_each_requested_region_has_an_entry_in_its_place() -> None:
    """The vendor leaves out regions without text; their entries have an empty text, so that entries have an index."""
    blank, first, second = Region(0, 200, 90, 40), Region(0, 0, 90, 40), Region(0, 50, 90, 40)
    result = Result("a\nb\na", recognition_regions_result=[RegionResult("a\n", first), RegionResult("b\n", second)])

    page = page_fields(result, 1, is_licensed=True, skew=None, regions=(blank, first, second, first))

    assert [each["text"] for each in page["regions"]] == ["", "a", "b", ""]
    assert [each["box"]["y"] for each in page["regions"]] == [200, 0, 50, 0]
    assert page_fields(result, 1, is_licensed=True, skew=None)["regions"] == []


@pytest.mark.parametrize(
    ("allowed", "ignored", "text", "warns"),
    [
        ("é", None, "The end", True),  # the vendor ignores allowed characters that the language does not give
        ("0123456789", None, "12 34\n5", False),
        (None, "T", "The end", True),
        (None, "xyz", "The end", False),
        (None, None, "The end", False),
        ("é", None, "", False),
    ],
)
def test_characters_that_the_options_exclude_give_a_warning(
    allowed: str | None, ignored: str | None, text: str, *, warns: bool
) -> None:
    """A text with characters that the caller excluded has a warning; white space does not count."""
    options = replace(OPTIONS, allowed_characters=allowed, ignored_characters=ignored)

    assert [each.code for each in character_warnings(text, options)] == ["characters-not-excluded"] * warns
