"""Which format a caller gets."""

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
def test_the_best_of_what_is_offered(accept: list[str], best: str) -> None:
    """By quality, by what is named most specifically, and of equals the first offered."""
    assert best_of(OFFERED, accept) == best


@pytest.mark.parametrize("accept", ["image/png", "text/plain;q=0", "*/*;q=nonsense", ";"])
def test_nothing_that_is_offered(accept: str) -> None:
    """It is refused, and what there is is named."""
    with pytest.raises(NotAcceptable, match="application/json, text/plain or application/pdf"):
        best_of(OFFERED, [accept])


@pytest.mark.parametrize(
    ("accept", "best"),
    [([], "application/json"), (["image/png"], "application/json"), (["text/plain;q=0"], "application/json"),
     (["text/plain"], "text/plain"), (["text/plain;q=0.1, application/json"], "application/json")],
)  # fmt: skip
def test_a_resource_that_refuses_nobody_gives_the_first(accept: list[str], best: str) -> None:
    """An audit or a stream of records comes in its usual format, whatever else is accepted."""
    assert best_or_first(OFFERED, accept) == best
