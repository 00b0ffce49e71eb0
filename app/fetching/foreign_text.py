"""Shortens texts of other servers, such as headers and file names, to one printable line for messages."""

MAX_REASON_LENGTH = 300
"""How many characters of another server's text a message shows."""


def printable(text: str, max_length: int = MAX_REASON_LENGTH) -> str:
    """Return a text without control, format and other unprintable characters, cut after `max_length` characters.

    Line ends, lone surrogates, and marks that change the direction of writing count as unprintable.
    """
    kept = "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[: max_length + 1]
    )
    return kept if len(kept) <= max_length else f"{kept[:max_length]}\N{HORIZONTAL ELLIPSIS}"
