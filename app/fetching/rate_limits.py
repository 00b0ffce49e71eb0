"""Reads how long a source asks to wait, from the headers Retry-After, RateLimit and RateLimit-Reset of its answer."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

SECONDS = r"[0-9]{1,18}"
"""Matches a number of seconds of at most 18 digits: `int()` raises ValueError for thousands of digits."""
MAX_FIELD_LENGTH = 2000
"""A field with more characters than this is ignored."""
NOTHING_LEFT = re.compile(r";\s*r\s*=\s*0+\s*(?:;|$)")
RESET = re.compile(rf";\s*t\s*=\s*({SECONDS})\s*(?:;|$)")


def pause_asked_for(headers: httpx.Headers) -> float | None:
    """Return how many seconds a source that refuses a request asks to wait; None if it states no time.

    Retry-After takes precedence over the RateLimit fields, as the draft of the IETF's HTTPAPI group demands.
    """
    if (seconds := _retry_after(headers.get("retry-after", ""))) is not None:
        return seconds
    if (seconds := _rate_limit(headers.get("ratelimit", ""))) is not None:
        return seconds
    reset = headers.get("ratelimit-reset", "").strip()  # the header of older drafts
    return float(reset) if re.fullmatch(SECONDS, reset) else None


def _rate_limit(field: str) -> float | None:
    """Return the longest wait of a RateLimit field such as `"resolvers";r=0;t=240`; None if no policy is exhausted."""
    if len(field) > MAX_FIELD_LENGTH:
        return None
    # Remove the quoted names of policies first, because these may have any character.
    policies = re.sub(r'"(?:[^"\\]|\\.)*"', "", field).split(",")
    waits = [float(reset[1]) for policy in policies if NOTHING_LEFT.search(policy) and (reset := RESET.search(policy))]
    return max(waits, default=None)


def _retry_after(value: str) -> float | None:
    value = value.strip()
    if re.fullmatch(SECONDS, value):
        return float(value)
    if len(value) > MAX_FIELD_LENGTH:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # A date without a time zone is in GMT: HTTP dates have no other.
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
