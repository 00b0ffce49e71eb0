"""Which models are old, and prunes by a plan."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from app.errors import ModelChanged, ModelInUse, ModelNotFound
from app.store.actor import Actor
from app.store.audit.findings import Hint, Reason, audit, plan_prune
from app.store.integrity.corruption import Corruption
from app.store.policy import Policy
from app.store.store import Store

ME = Actor("me")
RULES = Policy(protected_patterns=("keep_*",))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models", RULES, trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    for name in ("en_ocr_v1.bin", "en_ocr_v2.bin", "old_de.bin", "fr.bin"):
        (store.root / name).write_bytes(name.encode())
    return store


def test_the_audit_gives_every_reason(store: Store) -> None:
    """A model is stale by a pattern, or superseded, or has the hint of a higher number beside it, or is current."""
    for version in (1, 2):
        (store.root / f"aspose-ocr-hindi-v{version}.ocr").touch()
    needed = frozenset({"aspose-ocr-hindi-v2.ocr"})
    found = audit(store.scan(), RULES, store.protections, needed=needed)
    findings = {finding.model.name: finding for finding in found}

    assert findings["old_de.bin"].reasons == (Reason.STALE_PATTERN,)
    assert findings["old_de.bin"].stale_pattern == "old_*"
    assert (findings["en_ocr_v1.bin"].reasons, findings["en_ocr_v1.bin"].hints) == ((), (Hint.SUPERSEDED,))
    assert findings["en_ocr_v1.bin"].superseded_by == "en_ocr_v2.bin"
    assert findings["aspose-ocr-hindi-v1.ocr"].reasons == (Reason.SUPERSEDED,)
    assert [findings[f"aspose-ocr-hindi-v{version}.ocr"].is_needed for version in (1, 2)] == [False, True]
    assert [name for name, finding in findings.items() if finding.is_old] == ["aspose-ocr-hindi-v1.ocr", "old_de.bin"]


def test_a_hint_is_planned_only_if_it_is_included(store: Store) -> None:
    """A model with a higher number beside it is in no plan of reasons, and in every plan that includes the hint."""
    findings = audit(store.scan(), RULES, store.protections)

    def planned(reasons: Iterable[Reason], include: Iterable[Hint] = ()) -> list[str]:
        plan = plan_prune(findings, reasons, permanent=False, include=include)
        return [finding.model.name for finding in plan.findings]

    assert planned(Reason) == ["old_de.bin"]
    assert planned(Reason, Hint) == ["en_ocr_v1.bin", "old_de.bin"]
    assert planned((), Hint) == ["en_ocr_v1.bin"]


@pytest.mark.parametrize("reason", Reason)
def test_a_needed_ocr_model_is_planned_only_if_a_pattern_names_it(store: Store, reason: Reason) -> None:
    """An OCR model that the vendor's package needs is in no plan, even a corrupt one, unless it is called old."""
    for name in ("aspose-ocr-cyrillic-v1.ocr", "aspose-ocr-cyrillic-v2.ocr", "old_/aspose-ocr-korean-v1.ocr"):
        (store.root / name).parent.mkdir(exist_ok=True)
        (store.root / name).touch()
    needed = frozenset({"aspose-ocr-cyrillic-v1.ocr", "aspose-ocr-cyrillic-v2.ocr", "aspose-ocr-korean-v1.ocr"})
    corrupt = Corruption({"aspose-ocr-cyrillic-v1.ocr": "other bytes than recorded"})
    findings = audit(store.scan(), RULES, store.protections, corrupt, needed)
    planned = {finding.model.name for finding in plan_prune(findings, [reason], permanent=False, include=Hint).findings}

    named = {"old_/aspose-ocr-korean-v1.ocr", "old_de.bin"} if reason is Reason.STALE_PATTERN else set()
    assert planned == {"en_ocr_v1.bin"} | named


def test_the_id_of_a_plan_changes_with_its_models(store: Store) -> None:
    """The id of a plan depends on the versions of its models and on `permanent`, and not on other models."""

    def plan_id(reasons: Iterable[Reason] = Reason, include: Iterable[Hint] = Hint, *, permanent: bool = False) -> str:
        return plan_prune(
            audit(store.scan(), RULES, store.protections), reasons, permanent=permanent, include=include
        ).id

    before = plan_id()
    (store.root / "unrelated.bin").touch()

    assert plan_id() == before
    assert len({before, plan_id(include=()), plan_id(permanent=True)}) == 3
    (store.root / "old_de.bin").write_bytes(b"another version")
    assert plan_id() != before


def test_a_plan_deletes_its_models_and_reports_those_that_stay(store: Store) -> None:
    """Models that were changed, leased or removed meanwhile stay, with an error. A plan has no protected models."""
    for name in ("old_changed.bin", "old_leased.bin", "old_gone.bin", "keep_old_v1.bin", "keep_old_v2.bin"):
        (store.root / name).write_bytes(b"x")
    plan = plan_prune(audit(store.scan(), RULES, store.protections), Reason, permanent=False, include=Hint)
    (store.root / "old_changed.bin").write_bytes(b"another version")
    (store.root / "old_gone.bin").unlink()

    with store.locks.lease("old_leased.bin"):
        outcomes = {outcome.finding.model.name: outcome for outcome in store.audits.execute(plan, ME)}

    assert [name for name, outcome in outcomes.items() if outcome.receipt] == ["en_ocr_v1.bin", "old_de.bin"]
    errors = {name: type(outcome.error) for name, outcome in outcomes.items() if outcome.error}
    assert errors == {
        "old_changed.bin": ModelChanged,
        "old_leased.bin": ModelInUse,
        "old_gone.bin": ModelNotFound,
    }
    assert (store.root / "keep_old_v1.bin").exists()
    assert (store.root / "old_changed.bin").read_bytes() == b"another version"


def test_the_storage_use_counts_models_and_trash(store: Store) -> None:
    """The storage use has the bytes of models and trash, and the identity of the volume."""
    models_bytes = store.scan().total_size_bytes
    store.deletions.delete(store.deletions.plan("fr.bin"))

    storage = store.measure(store.scan())

    assert storage.models_bytes == models_bytes - len("fr.bin")
    assert storage.trash_bytes == sum(path.stat().st_size for path in (store.root / ".store/trash").iterdir())
    assert storage.volume_id == store.volume.identity.id
    assert 0 < storage.free_bytes < storage.total_bytes
    assert storage.is_writable
