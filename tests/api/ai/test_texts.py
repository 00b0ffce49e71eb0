"""The correction and the diff of texts, and the limits of their lines, without an engine."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.ai.service import TextLimits
from app.api.ai.spell_check import changes_between, corrected
from app.api.http.request_errors import TextTooLong
from app.engine.contract.processors import Processor
from app.engine.model_session import LoadRequest
from app.engine.text_runner import TextTask

TEXTS = st.text(alphabet="ab \n.é", max_size=40)


def test_a_diff_names_the_words_that_changed() -> None:
    """A diff lists the changes word by word, with blanks."""
    changes = changes_between("The quik brown  fox", "The quick brown  fox jumps")

    assert [(change.op, change.before, change.after) for change in changes] == [
        ("equal", "The ", "The "),
        ("replace", "quik", "quick"),
        ("equal", " brown  fox", " brown  fox"),
        ("insert", "", " jumps"),
    ]


@given(TEXTS, TEXTS)
@settings(deadline=None)
def test_a_diff_holds_both_texts_whole(before: str, after: str) -> None:
    """The `before` parts of a diff joined are the old text, the `after` parts joined are the new text."""
    changes = changes_between(before, after)

    assert "".join(change.before for change in changes) == before
    assert "".join(change.after for change in changes) == after
    assert all((change.op == "equal") == (change.before == change.after) for change in changes)


def test_the_line_end_that_the_vendor_adds_is_taken_off() -> None:
    """The line end that AsposeAI adds is removed, but only if the text does not end with one."""
    assert corrected("a", "A\n") == "A"
    assert corrected("a\nb", "A\nB\n") == "A\nB"
    assert corrected("a\n", "A\n") == "A\n"
    assert corrected("a", "A") == "A"


@pytest.mark.parametrize("text", ["four\rfour\rfour", "four\u2028four", "a" * 11])
def test_a_line_of_a_spell_check_ends_at_a_line_feed_only(text: str) -> None:
    """AsposeAI ends a line at a line feed only, so only that keeps a text within the limit of a line."""
    limits = TextLimits(max_bytes=10, call_seconds=1)
    task = TextTask(LoadRequest(Processor.SPELL_CHECK, "a.gguf", 1))

    with pytest.raises(TextTooLong):
        limits.check(task, [text])
    limits.check(task, ["four\nfour\nfour", "漢" * 11])
