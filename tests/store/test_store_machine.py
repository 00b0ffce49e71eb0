"""Hypothesis runs random operations on a store and on a dictionary that models it, and compares both after each."""

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from app.errors import (
    ConditionFailed,
    InvalidModelName,
    ModelChanged,
    ModelExists,
    ModelInUse,
    ModelNotFound,
    ModelProtected,
    NotAModel,
    TrashEntryNotFound,
)
from app.store.actor import Actor
from app.store.deletions import Receipt
from app.store.incoming.publish_conditions import Conditions
from app.store.policy import Policy
from app.store.store import Store

FREE = ("a.bin", "b.bin", "folder/c.gguf")
KEPT = ("keep_d.bin", "folder/keep_e.bin")
TAKEN = ("folder", "a.bin/below", "folder/c.gguf/x")
"""Names that cannot be models while their path, or a part of it, is a folder or a file."""
BAD = ("../a.bin", ".store/a", "")
names = st.sampled_from(FREE + KEPT)
any_names = st.sampled_from(FREE + KEPT + TAKEN + BAD)
ME = Actor("me")


class StoreMachine(RuleBasedStateMachine):
    """Applies each operation to a store and to the expected state: `models` by name, and `trash` by entry."""

    entries = Bundle("entries")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.models: dict[str, bytes] = {}
        self.trash: dict[str, tuple[str, bytes, bool]] = {}
        """The name, the content, and True if the entry has expired, by the entry's id."""
        self.journal: list[tuple[str, str]] = []
        self.count = 0

    @initialize(keeps=st.booleans())
    def open(self, keeps: bool) -> None:  # noqa: FBT001 - hypothesis names it
        """Open the store with a trash, or without one."""
        self.keeps = keeps
        self.store = self.opened(timedelta(hours=1) if keeps else timedelta(0))
        self.hasty = self.opened(timedelta(microseconds=1) if keeps else timedelta(0))

    def opened(self, retention: timedelta) -> Store:
        policy = Policy(protected_patterns=("keep_*",))
        store = Store(self.folder / "models", policy, trash_retention=retention, on_event=lambda *_: None)
        store.open()
        return store

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    # The expected state.

    def is_blocked(self, name: str) -> bool:
        """True if a model is at the path of a needed folder, or a folder at the path of the model."""
        return any(name.startswith(f"{model}/") or model.startswith(f"{name}/") for model in self.models) or (
            (self.folder / "models" / name).is_dir()
        )

    def refusal(self, name: str) -> type[Exception] | tuple[type[Exception], ...] | None:
        """The error that the deletion of a model must raise; None if it must succeed."""
        if name in BAD:
            return InvalidModelName
        if name not in self.models:
            return (ModelNotFound, NotAModel)
        return ModelProtected if name in KEPT else None

    def content(self) -> bytes:
        self.count += 1
        return f"content {self.count}".encode()

    def publish(self, name: str, content: bytes, conditions: Conditions) -> None:
        staged = self.store.incoming.begin()
        try:
            staged.write(content)
            self.store.incoming.publish(name, staged, conditions, ME)
        finally:
            staged.discard()

    def expect_deleted(self, name: str, receipt: Receipt, *, expires: bool) -> None:
        content = self.models.pop(name)
        assert (receipt.name, receipt.size_bytes) == (name, len(content))
        if receipt.trash_id:
            self.trash[receipt.trash_id] = (name, content, expires)
        self.journal.append(("trashed" if receipt.trash_id else "deleted", name))

    # The operations.

    @rule(name=any_names)
    def upload(self, name: str) -> None:
        """An upload succeeds only if the name is free."""
        content = self.content()
        try:
            self.publish(name, content, Conditions())
        except InvalidModelName:
            assert name in BAD
        except NotAModel:
            assert self.is_blocked(name)
        except ModelProtected:
            assert name in self.models
            assert name in KEPT
        except ModelExists:
            assert name in self.models
            assert name not in KEPT
        else:
            assert name not in self.models
            self.models[name] = content
            self.journal.append(("uploaded", name))

    @rule(target=entries, name=names, condition=st.sampled_from(["exact", "any", "other", "none"]))
    def replace(self, name: str, condition: str) -> object:
        """A replacement succeeds only for the version in the condition; the replaced version goes to the trash."""
        content = self.content()
        etag = self.store.find(name).etag if name in self.models else '"missing"'
        wanted = {"exact": {etag}, "any": {"*"}, "other": {'"other"'}, "none": {"*"}}[condition]
        field = "if_none_match" if condition == "none" else "if_match"
        before = {entry.id for entry in self.store.trash.entries()}
        try:
            self.publish(name, content, Conditions(**{field: frozenset(wanted)}))
        except NotAModel:
            assert self.is_blocked(name)
        except ModelProtected:
            assert name in KEPT
            assert name in self.models
        except ModelChanged:
            assert condition == "other"
        except ConditionFailed:
            assert (name in self.models) == (condition == "none")
        else:
            assert (name not in self.models) == (condition == "none")
            return self.replaced(name, content, before)
        return multiple()

    def replaced(self, name: str, content: bytes, before: set[str]) -> object:
        came = [entry.id for entry in self.store.trash.entries() if entry.id not in before]
        if name in self.models:
            assert len(came) == self.keeps
            self.journal.append(("trashed" if self.keeps else "deleted", name))
            self.trash |= dict.fromkeys(came, (name, self.models[name], False))
        self.models[name] = content
        self.journal.append(("uploaded", name))
        return multiple(*came)

    @rule(target=entries, name=any_names, permanent=st.booleans(), expires=st.booleans())
    def delete(self, name: str, permanent: bool, expires: bool) -> object:  # noqa: FBT001
        """A deletion succeeds only if the model exists and is not protected."""
        store = self.hasty if expires else self.store
        if refusal := self.refusal(name):
            with pytest.raises(refusal):
                store.deletions.plan(name)
            return multiple()
        receipt = store.deletions.delete(store.deletions.plan(name, permanent=permanent), ME)
        self.expect_deleted(name, receipt, expires=expires)
        assert (receipt.trash_id is None) == (permanent or not self.keeps)
        assert (receipt.freed_bytes > 0) == (receipt.trash_id is None)
        return multiple(receipt.trash_id) if receipt.trash_id else multiple()

    @rule(name=st.sampled_from(FREE))
    def plan_an_older_version(self, name: str) -> None:
        """The deletion of one exact version is refused after another version was written."""
        if name not in self.models:
            return
        plan = self.store.deletions.plan(name, if_match=[self.store.find(name).etag])
        content = self.content()
        (self.folder / "models" / name).write_bytes(content + b" by somebody else")
        self.models[name] = content + b" by somebody else"
        with pytest.raises(ModelChanged):
            self.store.deletions.delete(plan, ME)

    @rule(name=names)
    def dry_run(self, name: str) -> None:
        """A plan raises what the deletion would raise, and changes nothing."""
        if refusal := self.refusal(name):
            with pytest.raises(refusal):
                self.store.deletions.plan(name)
        else:
            assert self.store.deletions.plan(name).model.size_bytes == len(self.models[name])

    @rule(name=st.sampled_from(FREE))
    def use(self, name: str) -> None:
        """A leased model cannot be deleted."""
        if name in self.models:
            with self.store.locks.lease(name), pytest.raises(ModelInUse):
                self.store.deletions.plan(name)

    @rule(entry=consumes(entries), name=st.none() | any_names)
    def restore(self, entry: str, name: str | None) -> None:
        """A restore succeeds once, and only if the name is free."""
        was = self.trash.get(entry)
        target = was[0] if was and name is None else name
        try:
            model = self.store.trash.restore(entry, name, ME)
        except TrashEntryNotFound:
            assert was is None
        except InvalidModelName:
            assert target in BAD
        except (ModelExists, NotAModel):
            assert target is not None
            assert target in self.models or self.is_blocked(target)
        else:
            assert was is not None
            assert model.name == target
            assert target not in self.models
            self.models[target] = self.trash.pop(entry)[1]
            self.journal.append(("restored", target))

    @rule(entry=consumes(entries))
    def purge(self, entry: str) -> None:
        """A purge succeeds once."""
        if entry in self.trash:
            name = self.trash.pop(entry)[0]
            assert self.store.trash.purge(entry, ME).entry.name == name
            self.journal.append(("purged", name))
        with pytest.raises(TrashEntryNotFound):
            self.store.trash.purge(entry)

    @rule(empties=st.booleans())
    def sweep(self, empties: bool) -> None:  # noqa: FBT001
        """A sweep purges the expired entries, and `empty` purges all entries."""
        due = {entry for entry, (_, _, is_due) in self.trash.items() if is_due or empties}
        gone = self.store.trash.empty(ME) if empties else self.store.sweep()
        purged = [each.entry for each in gone]
        assert {entry.id for entry in purged} == due
        for entry in purged:
            del self.trash[entry.id]
            self.journal.append(("purged", entry.name))

    # The comparison after each operation.

    @invariant()
    def store_equals_expected_state(self) -> None:
        """The models, the trash and the journal of the store equal the expected state, with every byte."""
        if not hasattr(self, "store"):
            return
        root = self.folder / "models"
        assert {name: (root / name).read_bytes() for name in self.store.scan().models} == self.models
        entries = self.store.trash.entries()
        found = {entry.id: (entry.name, (root / ".store/trash" / entry.id).read_bytes()) for entry in entries}
        assert found == {entry: (name, content) for entry, (name, content, _) in self.trash.items()}
        assert {entry.id for entry in entries if entry.expires_at <= datetime.now(UTC)} == {
            entry for entry, (_, _, is_due) in self.trash.items() if is_due
        }
        assert list((root / ".store/staging").iterdir()) == []
        events = self.store.journal.latest(10_000)
        assert [(event.action, event.name) for event in reversed(events)] == self.journal


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


class TestTheStore(StoreMachine.TestCase):  # type: ignore[valid-type]
    """Runs 25 sequences of up to 25 operations, each on an empty folder."""
