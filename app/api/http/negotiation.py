"""Content negotiation (RFC 9110, section 12.5.1): which format a caller prefers. Only this module parses `Accept`."""

from collections.abc import Iterable, Sequence

from app.api.http.request_errors import NotAcceptable

Preference = tuple[float, int]
"""The quality that `Accept` gives a media type, and how specific the range in `Accept` is that gives this quality."""
NOT_ACCEPTED: Preference = (0.0, 0)


def best_of(offered: Sequence[str], accept: Iterable[str]) -> str:
    """Return the offered media type that `Accept` rates highest. Raises NotAcceptable.

    Of media types of equal quality, the type that `Accept` names most specifically wins, then the type offered first.
    """
    best = _best(offered, accept)
    if best is None:
        raise NotAcceptable(" or ".join((*([", ".join(offered[:-1])] if offered[1:] else []), offered[-1])))
    return best


def best_or_first(offered: Sequence[str], accept: Iterable[str]) -> str:
    """Return the offered media type that `Accept` rates highest, or the first offered type if `Accept` allows none."""
    return _best(offered, accept) or offered[0]


def _best(offered: Sequence[str], accept: Iterable[str]) -> str | None:
    ranges = [_rated(part) for line in accept for part in line.split(",") if part.strip()]
    if not ranges:
        return offered[0]
    best = max(offered, key=lambda media_type: _preference(media_type, ranges))
    return best if _preference(best, ranges)[0] else None


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


def _preference(media_type: str, ranges: list[tuple[str, float]]) -> Preference:
    """Return the quality and the specificity of the most specific range that fits the media type."""
    fitting = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    for specificity, wanted in zip((3, 2, 1), fitting, strict=True):
        for media_range, quality in ranges:
            if media_range == wanted:
                return quality, specificity
    return NOT_ACCEPTED
