"""Which format of an answer a caller prefers (RFC 9110, section 12.5.1)."""

from collections.abc import Iterable, Sequence

from app.api.http.request_errors import NotAcceptable


def best_of(offered: Sequence[str], accept: Iterable[str]) -> str:
    """The offered media type that `Accept` rates highest; of equals the first. Raises NotAcceptable."""
    ranges = [_rated(part) for line in accept for part in line.split(",") if part.strip()]
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    if not _quality(best, ranges):
        raise NotAcceptable(", ".join(offered[:-1]) + f" or {offered[-1]}")
    return best


def _rated(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media_range, min(max(float(value), 0.0), 1.0)
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """Of the most specific range that fits."""
    for fitting in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        for media_range, quality in ranges:
            if media_range == fitting:
                return quality
    return 0.0
