"""What one version of the vendor's wheel offers, and which OCR models (`.ocr` files) each of its functions asks for.

The facts are not typed by hand: `app.engine.child.aspose_requirements` asks the wheel itself, in a separate process.
Each version of the wheel has one JSON file of facts. For the versions that this service was built with, `python -m
app.engine.wheel.wheel_probe` has written the files into `KNOWN`, and a test compares them with the installed wheel. So
the service has the facts at its start without a process, a delay or a call to the engine.

For another version of the wheel, which pyproject.toml allows, `app.engine.wheel.installed_wheel` asks the wheel in the
background and stores the answer in the state folder.
"""

import importlib.metadata
import json
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

DISTRIBUTION = "aspose-ocr-python-net"
"""The name of the vendor's Python distribution. The facts are about one version of it."""
KNOWN = Path(__file__).parent / "known_wheels"
"""The folder with the facts that are part of this service: `<version>.json`."""
OCR_SUFFIX = ".ocr"

Needs = Mapping[str, tuple[str, ...]]
"""By the vendor's names in lower case: the file names, with suffix, of the OCR models that must be in the model folder.

The wheel names one missing file at a time, so a function may ask for a further one once the first is there.
"""


class NotWheelFacts(ValueError):
    """Raised for a text that does not contain the facts of a wheel. The message says why."""


@dataclass(frozen=True)
class WheelFacts:
    """What one version of the wheel offers, and which OCR models each function needs. All names are in lower case."""

    version: str
    languages: Needs
    """The names of `Language`."""
    language_names: Mapping[str, str]
    """The English name of each language, by the language's key in `languages`. Groups of languages, such as `latin`,
    are left out."""
    language_aliases: Mapping[str, str]
    """By other ISO 639 codes, such as `de` and `ger`, the key of the language in `languages`, such as `deu`."""
    areas: Needs
    """The names of `DetectAreasMode`."""
    methods: Needs
    """The methods of `AsposeOcr` that read or judge an image, such as `recognize_receipt`."""
    filters: Needs
    """The filters of `PreprocessingFilter`."""
    formats: tuple[str, ...]
    """The names of `SaveFormat`."""
    inputs: tuple[str, ...]
    """The names of `InputType`."""
    dictionaries: tuple[str, ...]
    """The names of `SpellCheckLanguage`: the languages of the dictionary spell check."""

    @cached_property
    def ocr_models(self) -> frozenset[str]:
        """The OCR models that this wheel asks for, as file names."""
        every = (self.languages, self.areas, self.methods, self.filters)
        return frozenset(file for needs in every for files in needs.values() for file in files)

    def uses_of(self, file: str) -> dict[str, list[str]]:
        """Return the names of what needs an OCR model, by group: `languages`, `areas`, `methods`, `filters`.

        Groups without a name are left out.
        """
        groups = {
            "languages": self.languages,
            "areas": self.areas,
            "methods": self.methods,
            "filters": self.filters,
        }
        uses = {group: [name for name, files in needs.items() if file in files] for group, needs in groups.items()}
        return {group: names for group, names in uses.items() if names}

    def to_json(self) -> str:
        """Return the facts as the text of a facts file."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "WheelFacts":
        """Build the facts from the text of a facts file. Raises NotWheelFacts."""
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise NotWheelFacts(str(exc)) from exc
        match given:
            case {
                "version": str(version),
                "languages": dict(languages),
                "language_names": dict(language_names),
                "language_aliases": dict(language_aliases),
                "areas": dict(areas),
                "methods": dict(methods),
                "filters": dict(filters),
                "formats": list(formats),
                "inputs": list(inputs),
                "dictionaries": list(dictionaries),
            }:
                facts = cls(
                    version,
                    _needs(languages),
                    _texts(language_names),
                    _texts(language_aliases),
                    _needs(areas),
                    _needs(methods),
                    _needs(filters),
                    _names(formats),
                    _names(inputs),
                    _names(dictionaries),
                )
                facts._check()
                return facts
        msg = f"fields are missing: {reprlib.repr(given)}"
        raise NotWheelFacts(msg)

    def _check(self) -> None:
        """Raise NotWheelFacts if all languages or no languages need a file.

        Every wheel has the models for Latin script only, so some languages need a file.

        If a wheel opened the image before it looked for its files, its answers would wrongly say that nothing needs a
        file.
        """
        needing = [name for name, files in self.languages.items() if files]
        if not needing or len(needing) == len(self.languages):
            msg = f"{len(needing)} of {len(self.languages)} languages seem to need a file, which cannot be right"
            raise NotWheelFacts(msg)


def facts_of_installed(state_dir: Path) -> WheelFacts | None:
    """Return the facts of the installed wheel, or None if its facts are not known. Reads a small file.

    The file is part of this service or, for another version of the wheel, in the state folder after the wheel was
    asked.
    """
    version = installed_version()
    return known_facts(version) or kept_facts(state_dir, version)


def installed_version() -> str:
    """Return the version of the installed wheel; empty if none is installed."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return ""


def newest_known_facts() -> WheelFacts:
    """Return the facts of the newest version of the wheel whose facts are part of this service."""
    versions = [path.stem for path in KNOWN.glob("*.json")]
    newest = known_facts(max(versions, key=lambda version: [int(part) for part in version.split(".")]))
    assert newest is not None  # noqa: S101 - its file was listed just now; this is for the type checker
    return newest


def kept_facts(state_dir: Path, version: str) -> WheelFacts | None:
    """Return the facts of a wheel's version that an earlier run stored in the state folder, or None."""
    try:
        facts = WheelFacts.from_json(kept_file(state_dir, version).read_bytes())
    except (OSError, NotWheelFacts):
        return None
    return facts if facts.version == version else None


def kept_file(state_dir: Path, version: str) -> Path:
    """Return the path of the facts of a wheel's version in the state folder."""
    return state_dir / f"wheel-{version}.json"


def known_facts(version: str) -> WheelFacts | None:
    """Return the facts of a wheel's version if they are part of this service, else None. Reads a small file."""
    path = KNOWN / f"{version}.json"
    return WheelFacts.from_json(path.read_bytes()) if path.is_file() else None


def _needs(value: Mapping[str, object]) -> Needs:
    return {name: _names(files) for name, files in value.items()}


def _texts(value: Mapping[str, object]) -> Mapping[str, str]:
    _names(value.values())
    return {name: str(text) for name, text in value.items()}


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes):
        raise NotWheelFacts(f"not a list of names: {reprlib.repr(value)}")
    names: list[Any] = list(value)
    if not all(isinstance(name, str) for name in names):
        raise NotWheelFacts(f"not a list of names: {reprlib.repr(value)}")
    return tuple(names)
