"""BCP 47 tags for the vendor's names of languages and scripts."""

import langcodes

SCRIPTS = {
    "latin": "und-Latn",
    "ext_latin": "und-Latn",
    "cyrillic": "und-Cyrl",
    "devanagari": "und-Deva",
    "indic": "und-Deva",
    "perso_arabic": "und-Arab",
    "chinese": "zh",
}
"""The tags for those of the vendor's names that stand for a script and not for a language. `und` means an unknown
language."""
ISO_639_3_LENGTH = 3


def language_tag(name: str) -> str | None:
    """Return the tag for a name of the vendor's `Language` in lower case; None if it names several languages."""
    if name in SCRIPTS:
        return SCRIPTS[name]
    # The other names of three letters are ISO 639-3 codes; BCP 47 wants `de`, not `deu`.
    return langcodes.standardize_tag(name) if len(name) == ISO_639_3_LENGTH else None
