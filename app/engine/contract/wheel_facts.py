"""What one version of the vendor's wheel offers, and which OCR models (`.ocr` files) each of its functions asks for.

Nothing here is typed by hand. `app.engine.child.aspose_requirements` asks the wheel itself, in a process of its own,
and the answer is kept in one JSON file for each version: in `KNOWN` for the versions that this service was built with,
written by `python -m app.engine.wheel.wheel_probe`, and a test compares it with the installed wheel. So the service has
the facts at its start without a process, a delay or a call to the engine. For another version of the wheel, which
pyproject.toml allows, `app.engine.wheel.installed_wheel` asks in the background and keeps the answer in the state
folder.
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
"""The vendor's distribution, whose version the facts are about."""
KNOWN = Path(__file__).parent / "known_wheels"
"""The folder with the facts that are part of this service: `<version>.json`."""
OCR_SUFFIX = ".ocr"

Needs = Mapping[str, tuple[str, ...]]
"""For each of the vendor's names, in lower case, the OCR models that must be in the model folder: file names with
suffix.

The wheel names one missing file at a time, so a function may ask for a further one once the first is there.
"""


class NotWheelFacts(ValueError):
    """A text is not the facts of a wheel. The message says why."""


@dataclass(frozen=True)
class WheelFacts:
    """The functions of one version of the wheel, by the vendor's names in lower case, and what each needs."""

    version: str
    languages: Needs
    """The names of `Language`."""
    language_names: Mapping[str, str]
    """The English name of each language, by its name in `languages`. A group, such as `latin`, has none."""
    language_aliases: Mapping[str, str]
    """The name in `languages` of each other ISO 639 code, such as `de` and `ger` for `deu`."""
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
        """Return what needs an OCR model, by group: `languages`, `areas`, `methods`, `filters`. Omits empty groups."""
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
        """Raise NotWheelFacts unless some languages need a file and others do not, as every wheel ships only Latin.

        A wheel that opened an image before it checked its files would seem to need nothing at all.
        """
        needing = [name for name, files in self.languages.items() if files]
        if not needing or len(needing) == len(self.languages):
            msg = f"{len(needing)} of {len(self.languages)} languages seem to need a file, which cannot be right"
            raise NotWheelFacts(msg)


def facts_of_installed(state_dir: Path) -> WheelFacts | None:
    """Return the facts of the installed wheel, or None if they are not known. Reads a small file.

    They are part of this service or, for another version, in the state folder once the wheel has been asked.
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
    """Return the facts of the newest version that are part of this service."""
    versions = [path.stem for path in KNOWN.glob("*.json")]
    newest = known_facts(max(versions, key=lambda version: [int(part) for part in version.split(".")]))
    assert newest is not None  # noqa: S101 - its file was listed just now; this is for the type checker
    return newest


def kept_facts(state_dir: Path, version: str) -> WheelFacts | None:
    """Return the facts of a version that an earlier run has kept in the state folder, or None if there are none."""
    try:
        facts = WheelFacts.from_json(kept_file(state_dir, version).read_bytes())
    except (OSError, NotWheelFacts):
        return None
    return facts if facts.version == version else None


def kept_file(state_dir: Path, version: str) -> Path:
    """Return the path at which the facts of a version are kept in the state folder."""
    return state_dir / f"wheel-{version}.json"


def known_facts(version: str) -> WheelFacts | None:
    """Return the facts of a version that are part of this service, or None if there are none. Reads a small file."""
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
