"""The recognised text as RTF."""

from collections.abc import Sequence

from app.engine.child.documents.pages import Page

HEAD = r"{\rtf1\ansi\ansicpg1252\deff0\uc1{\fonttbl{\f0\fswiss Arial;}}\f0\fs22" + "\n"
SPECIAL = {"\\": r"\\", "{": r"\{", "}": r"\}", "\t": r"\tab "}


def rtf_of(pages: Sequence[Page]) -> str:
    """Return an RTF document, all ASCII, that has the same pages and paragraphs as the recognised pages."""
    return HEAD + "\\page\n".join(map(_content, pages)) + "}\n"


def _content(page: Page) -> str:
    paragraphs = (
        [[line.text for line in lines] for lines in page.paragraphs()]
        if page.rows is None
        else [["\t".join(row)] for row in page.rows]
    )
    return "".join("{\\pard " + "\\line ".join(map(_escaped, lines)) + "\\par}\n" for lines in paragraphs)


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(each) or (each if each.isascii() else _units(each)) for each in text)


def _units(character: str) -> str:
    """Return a character in RTF: each UTF-16 unit as a signed number and a `?`, which readers without Unicode show."""
    encoded = character.encode("utf-16-le")
    units = (int.from_bytes(encoded[at : at + 2], "little", signed=True) for at in range(0, len(encoded), 2))
    return "".join(f"\\u{unit}?" for unit in units)
