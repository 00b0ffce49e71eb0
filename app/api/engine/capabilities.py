"""`/engine/capabilities`: what recognition and the processors can do here, and which models the rest requires.

The service makes the answer from the known facts of the vendor's package (`app.engine.wheel.installed_wheel`), the
models in the folder, and the facts that the supervisor already has. It asks neither the engine nor the disk.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from fastapi import APIRouter

from app import errors
from app.api.engine.capability_schemas import AbilityOut, CapabilitiesOut, DictionaryOut, FormatOut, LanguageOut
from app.api.engine.deps import InstalledWheelDep, OcrModelRefusalsDep, SupervisorDep
from app.api.engine.schemas import VendorOut
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import WatcherDep
from app.api.http.header_fields import JSON, TEXT
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.engine.contract.document_formats import MEDIA_TYPE_OF_DOCUMENT
from app.engine.contract.image_formats import IMAGE_FORMATS
from app.engine.contract.messages import CapabilityName
from app.engine.contract.ocr_model_needs import FILTERS, METHODS
from app.engine.contract.ocr_models import resource_of
from app.engine.contract.processors import DEFAULT_MODEL, Processor
from app.engine.contract.wheel_facts import DISTRIBUTION, Needs, WheelFacts
from app.engine.ocr_model_refusals import OcrModelRefusals
from app.engine.supervisor import Supervisor
from app.store import Inventory

AnyName = TypeVar("AnyName", bound=StrEnum)
router = APIRouter(tags=["engine"], route_class=GuardedRoute)

SCRIPTS = {
    "arabic": "Arabic",
    "chinese": "Han",
    "cyrillic": "Cyrillic",
    "hindi": "Devanagari",
    "japanese": "Japanese",
    "kannada": "Kannada",
    "korean": "Korean",
    "tamil": "Tamil",
    "telugu": "Telugu",
}
"""For each OCR model, by its name without prefix and version, the ISO 15924 name of the script that it reads."""
OCR_MODEL = re.compile(r"aspose-ocr-(.+)-v\d+\.ocr")
TABLE = "table"
"""The processor that takes an image. It needs llama.cpp's libraries and no model: it treats the page as one table."""
PROCESSORS = (*(str(processor) for processor in Processor), TABLE)
"""The last parts of the paths of the routes below `/ai`. All but `table` take texts."""


@router.get(
    "/engine/capabilities",
    summary="Get capabilities",
    response_description="What the engine can do, and what it lacks.",
    responses=problems(errors.StoreUnavailable, errors.EngineUnknown),
    openapi_extra=needs(Scope.READ),
)
async def get_engine_capabilities(
    wheel: InstalledWheelDep, watcher: WatcherDep, supervisor: SupervisorDep, refusals: OcrModelRefusalsDep
) -> CapabilitiesOut:
    """Get the languages, areas, kinds of documents, filters, formats, dictionaries and processors of the engine.

    If an entry needs an OCR model or a language model that is not in the model folder, `requires` names the model, and
    `pulls` has the body of the `POST /pulls` that fetches it. The answer never waits for the engine. Each version of
    the vendor's package was asked once which OCR models it needs.
    """
    if wheel.facts is None:
        raise errors.EngineUnknown(DISTRIBUTION, wheel.version)
    inventory = await watcher.current_when_scanned()
    return _capabilities(wheel.facts, Abilities(inventory, supervisor, refusals))


def _capabilities(facts: WheelFacts, abilities: "Abilities") -> CapabilitiesOut:
    return CapabilitiesOut(
        vendor=VendorOut(package=DISTRIBUTION, version=facts.version),
        recognition=abilities.reason(CapabilityName.RECOGNITION),
        ai=abilities.reason(CapabilityName.AI),
        languages=[
            LanguageOut(
                **dict(abilities.recognition(code, files)),
                english_name=facts.language_names.get(code),
                script=_script(files),
            )
            for code, files in facts.languages.items()
        ],
        areas=abilities.of(facts.areas),
        kinds=abilities.of(_needs_of(METHODS, facts.methods)),
        filters=abilities.of(_needs_of(FILTERS, facts.filters)),
        inputs=[FormatOut(name=each.name, media_type=each.media_type) for each in IMAGE_FORMATS],
        outputs=[
            FormatOut(name="json", media_type=JSON),
            FormatOut(name="text", media_type=TEXT),
            *(FormatOut(name=each, media_type=media_type) for each, media_type in MEDIA_TYPE_OF_DOCUMENT.items()),
        ],
        dictionaries=[
            DictionaryOut(language=code, english_name=facts.language_names.get(code)) for code in facts.dictionaries
        ],
        processors=[abilities.processor(name) for name in PROCESSORS],
    )


class Abilities:
    """Judges which functions of the engine are available with the models in the folder."""

    def __init__(self, inventory: Inventory, supervisor: Supervisor, refusals: OcrModelRefusals) -> None:
        self._refusals = refusals
        self._models = inventory.models
        facts = supervisor.facts
        self._lacking: Mapping[str, str | None] = (
            {each.name: each.reason for each in facts.capabilities if not each.available} if facts else {}
        )

    def reason(self, capability: CapabilityName) -> str | None:
        """Return why the engine cannot do something at all on this machine; None if it can or was not asked yet."""
        return self._lacking.get(capability)

    def of(self, needs: Needs) -> list[AbilityOut]:
        """Return an entry for each function of recognition in `needs`, with the models that it requires."""
        return [self.recognition(name, files) for name, files in needs.items()]

    def recognition(self, name: str, files: tuple[str, ...]) -> AbilityOut:
        """Return the entry for one function of recognition; `files` are the OCR models that it needs."""
        missing = [file for file in files if file not in self._models]
        here = [self._models[file] for file in files if file in self._models]
        refused = [model.name for model in here if self._refusals.is_refused(model.name, model.size_bytes)]
        return AbilityOut(
            name=name,
            available=not missing and not refused and CapabilityName.RECOGNITION not in self._lacking,
            requires=missing,
            refused=refused,
            pulls=[
                *({"resource": resource_of(file)} for file in missing),
                *({"resource": resource_of(file), "if_exists": "replace"} for file in refused),
            ],
        )

    def processor(self, name: str) -> AbilityOut:
        """Return the entry for a processor. All but `table` require the model that AsposeAI loads by default."""
        if name == TABLE:
            lacks = {CapabilityName.AI, CapabilityName.RECOGNITION} & self._lacking.keys()
            return AbilityOut(name=name, available=not lacks, requires=[], refused=[], pulls=[])
        is_there = DEFAULT_MODEL in self._models
        repository, _, file = DEFAULT_MODEL.partition("/")
        return AbilityOut(
            name=name,
            available=is_there and CapabilityName.AI not in self._lacking,
            requires=[] if is_there else [DEFAULT_MODEL],
            refused=[],
            pulls=[] if is_there else [{"repository": repository.replace("_", "/", 1), "file": file}],
        )


def _needs_of(vendor_names: Mapping[AnyName, str], needs: Needs) -> Needs:
    """Return the needs under the API's names in place of the vendor's. Names that `needs` lacks are left out."""
    return {str(name): needs[vendor_name] for name, vendor_name in vendor_names.items() if vendor_name in needs}


def _script(files: tuple[str, ...]) -> str | None:
    """Return the script that the engine reads with these OCR models: Latin without any, None if it is not known."""
    if not files:
        return "Latin"
    match = OCR_MODEL.fullmatch(files[0])
    return SCRIPTS.get(match[1]) if match else None
