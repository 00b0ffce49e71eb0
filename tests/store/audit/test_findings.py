"""Which models are old, and prunes by a plan."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ModelChanged, ModelInUse, ModelNotFound
from app.store.actor import Actor
from app.store.audit.findings import Reason, audit, plan_prune, superseded_by
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


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["en_ocr_v1.bin", "en_ocr_v2.bin"], {"en_ocr_v1.bin": "en_ocr_v2.bin"}),
        (["m-v9.gguf", "m-v10.gguf"], {"m-v9.gguf": "m-v10.gguf"}),
        (["m_v1.9.bin", "m_v1.10.bin", "m_v1.bin"], {"m_v1.9.bin": "m_v1.10.bin", "m_v1.bin": "m_v1.10.bin"}),
        (["a/m_v1.bin", "b/m_v2.bin"], {}),
        (["m_v1.bin", "m_v2.gguf"], {}),
        (["m_v1_q4.bin", "m_v2_q8.bin"], {}),
        (["m_v1.bin", "n_v2.bin"], {}),
        (["v1.bin", "v2.bin", "move1.bin", "move2.bin"], {}),
        (["d_v1/m.bin", "d_v2/m.bin"], {}),
    ],
)
def test_a_newer_version_of_the_same_name_supersedes(names: list[str], expected: dict[str, str]) -> None:
    """Versions are compared number by number, in one folder and with one suffix; other names have no version."""
    assert superseded_by(names) == expected


@given(st.lists(st.tuples(st.sampled_from(["a_v", "b-v"]), st.integers(0, 30)), unique=True))
def test_the_newest_of_each_name_is_never_superseded(models: list[tuple[str, int]]) -> None:
    """For any versions, the newest of each name is not superseded and all others are."""
    names = [f"{before}{version}.bin" for before, version in models]
    superseded = superseded_by(names)

    for before in {before for before, _ in models}:
        newest = max(version for other, version in models if other == before)
        assert f"{before}{newest}.bin" not in superseded
        assert all(f"{before}{v}.bin" in superseded for other, v in models if other == before and v < newest)


def test_the_audit_gives_every_reason(store: Store) -> None:
    """A model is stale by a pattern, superseded, or current."""
    findings = {finding.model.name: finding for finding in audit(store.scan(), RULES, store.protections)}

    assert findings["old_de.bin"].reasons == (Reason.STALE_PATTERN,)
    assert findings["old_de.bin"].stale_pattern == "old_*"
    assert findings["en_ocr_v1.bin"].superseded_by == "en_ocr_v2.bin"
    assert [name for name, finding in findings.items() if finding.is_old] == ["en_ocr_v1.bin", "old_de.bin"]


def test_the_id_of_a_plan_changes_with_its_models(store: Store) -> None:
    """The id of a plan depends on the versions of its models and on `permanent`, and not on other models."""

    def plan_id(reasons: tuple[Reason, ...] = tuple(Reason), *, permanent: bool = False) -> str:
        return plan_prune(audit(store.scan(), RULES, store.protections), reasons, permanent=permanent).id

    before = plan_id()
    (store.root / "unrelated.bin").touch()

    assert plan_id() == before
    assert len({before, plan_id((Reason.SUPERSEDED,)), plan_id(permanent=True)}) == 3
    (store.root / "old_de.bin").write_bytes(b"another version")
    assert plan_id() != before


def test_a_plan_deletes_its_models_and_reports_those_that_stay(store: Store) -> None:
    """Models that were changed, leased or removed meanwhile stay, with an error. A plan has no protected models."""
    for name in ("old_changed.bin", "old_leased.bin", "old_gone.bin", "keep_old_v1.bin", "keep_old_v2.bin"):
        (store.root / name).write_bytes(b"x")
    plan = plan_prune(audit(store.scan(), RULES, store.protections), Reason, permanent=False)
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
