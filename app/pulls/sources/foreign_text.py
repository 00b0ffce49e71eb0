"""Texts of other servers, such as headers and file names, as our messages show them: short, and on one line."""

MAX_REASON_LENGTH = 300
"""How many characters of a text of others are shown in a message."""


def printable(text: str, max_length: int = MAX_REASON_LENGTH) -> str:
    """Return a text without control, format and other unprintable characters, cut after `max_length` characters.

    Unprintable are also the marks that change the direction of writing, line ends, and lone surrogates.
    """
    kept = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[: max_length + 1]
    )
    return kept if len(kept) <= max_length else f"{kept[:max_length]}\N{HORIZONTAL ELLIPSIS}"
