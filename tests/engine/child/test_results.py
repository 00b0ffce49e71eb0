"""The conversion of the vendor's results to fields, for cases that need a licence."""

from dataclasses import dataclass, field

from app.engine.child.results import page_fields

NOTICE = "\n ************* Trial Licenses ************* \n"


@dataclass
class Result:
    """The parts of the vendor's result for one page that `page_fields` reads."""

    recognition_text: str
    serializable_image: bytearray | None = None
    recognition_lines_result: list[object] = field(default_factory=list)


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
