"""Escapes text for terminals: characters that would move the cursor, change colours or reverse the writing."""

import unicodedata

INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""The Unicode categories whose characters are escaped: control and format characters (such as bidi marks), surrogates,
line separators."""


def visible(text: str) -> str:
    r"""Return a text for one line of a terminal, with escapes such as `\x1b` and `\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_escaped, text))


def visible_lines(text: str) -> str:
    """Return a text of several lines for a terminal, with escapes. Line ends and tabs are not escaped."""
    return "".join(each if each in "\n\t" else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in INVISIBLE:
        return character
    return character.encode("unicode_escape").decode("ascii")
