"""Content negotiation: which format `Accept` selects."""

import pytest

from app.api.http.negotiation import best_of, best_or_first
from app.api.http.request_errors import NotAcceptable

OFFERED = ("application/json", "text/plain", "application/pdf")


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        ([], "application/json"),
        (["*/*"], "application/json"),
        (["text/plain"], "text/plain"),
        (["text/*, application/json;q=0.5"], "text/plain"),
        (["application/json;q=0.1", "application/pdf; q=0.2"], "application/pdf"),
        (["*/*, application/json;q=0"], "text/plain"),
        (["APPLICATION/PDF"], "application/pdf"),
        (["image/png, */*;q=0.1"], "application/json"),
        (["*/*, text/plain"], "text/plain"),
        (["application/json, text/plain, */*"], "application/json"),
        (["text/*, application/pdf"], "application/pdf"),
    ],
)
def test_best_of_returns_the_type_that_accept_rates_highest(accept: list[str], best: str) -> None:
    """`best_of` prefers the highest quality, then the most specific range, then the first offered."""
    assert best_of(OFFERED, accept) == best


@pytest.mark.parametrize("accept", ["image/png", "text/plain;q=0", "*/*;q=nonsense", ";"])
def test_best_of_raises_if_nothing_offered_is_accepted(accept: str) -> None:
    """`best_of` raises NotAcceptable, with the offered formats, if `Accept` allows none of them."""
    with pytest.raises(NotAcceptable, match="application/json, text/plain or application/pdf"):
        best_of(OFFERED, [accept])


def test_the_only_offered_type_is_named_alone() -> None:
    """If one format is offered, NotAcceptable names that one and no list."""
    with pytest.raises(NotAcceptable, match="can be application/json"):
        best_of(OFFERED[:1], ["text/plain"])


@pytest.mark.parametrize(
    ("accept", "best"),
    [([], "application/json"), (["image/png"], "application/json"), (["text/plain;q=0"], "application/json"),
     (["text/plain"], "text/plain"), (["text/plain;q=0.1, application/json"], "application/json")],
)  # fmt: skip
def test_best_or_first_returns_the_first_type_if_none_is_accepted(accept: list[str], best: str) -> None:
    """`best_or_first` returns the first offered type if `Accept` allows none of the offered ones."""
    assert best_or_first(OFFERED, accept) == best
