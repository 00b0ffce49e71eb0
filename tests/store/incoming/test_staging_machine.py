"""Hypothesis runs random operations on staging: kept files keep every byte, and published models are whole."""

import hashlib
import os
import secrets
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.errors import PartialBusy, PartialNotFound
from app.store.actor import Actor
from app.store.incoming.partials import PartialRecord
from app.store.incoming.publish_conditions import Conditions
from app.store.incoming.staged_file import StagedFile
from app.store.policy import Policy
from app.store.store import Store

DAY = timedelta(days=1)
PLACES = st.integers(0, 2)


@dataclass
class Expected:
    """The expected state of one staged file."""

    id: str
    held: StagedFile | None
    content: bytes = b""
    has_expired: bool = False


class StagingMachine(RuleBasedStateMachine):
    """Runs every operation of staging on up to three partial files in one folder."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.restart()
        self.staged: dict[int, Expected] = {}
        self.published: dict[str, bytes] = {}

    def restart(self) -> None:
        """Open the store as a new process does, which has not seen any file before."""
        self.store = Store(Path(self.folder.name), Policy(), trash_retention=DAY, on_event=lambda *_: None)
        self.store.open()

    def teardown(self) -> None:
        for each in self.staged.values():
            if each.held:
                each.held.release()
        self.folder.cleanup()

    @rule(place=PLACES)
    def begin(self, place: int) -> None:
        if place not in self.staged:
            keep = PartialRecord(secrets.token_hex(16), "a.bin", "pull", "me", None, datetime.now(UTC), DAY)
            self.staged[place] = Expected(keep.id, self.store.incoming.begin(["sha512"], keep=keep))

    @rule(place=PLACES, content=st.binary(min_size=1, max_size=8))
    def write(self, place: int, content: bytes) -> None:
        if (each := self.staged.get(place)) and each.held:
            each.held.write(content)
            each.content += content

    @rule(place=PLACES, size=st.integers(0, 8))
    def cut(self, place: int, size: int) -> None:
        if (each := self.staged.get(place)) and each.held and size < len(each.content):
            each.held.cut(size)
            each.content = each.content[:size]

    @rule(place=PLACES)
    def release(self, place: int) -> None:
        if (each := self.staged.get(place)) and each.held:
            each.held.release()
            each.held = None

    @rule(place=PLACES)
    def resume(self, place: int) -> None:
        if not (each := self.staged.get(place)):
            return
        if each.held or each.has_expired:
            with pytest.raises(PartialBusy if each.held else PartialNotFound):
                self.store.incoming.resume(each.id)
        else:
            each.held, _ = self.store.incoming.resume(each.id, ["sha512"])

    @rule(place=PLACES)
    def publish(self, place: int) -> None:
        if (each := self.staged.get(place)) and each.held:
            right = {"sha512": [hashlib.sha512(each.content).digest()]}
            found = self.store.incoming.publish(each.id, each.held, Conditions(), Actor("me"), right)
            assert found.sha256 == hashlib.sha256(each.content).hexdigest()
            each.held.release()
            self.published[each.id] = self.staged.pop(place).content

    @rule(place=PLACES)
    def discard(self, place: int) -> None:
        if not (each := self.staged.get(place)) or each.has_expired:
            return
        if each.held:
            with pytest.raises(PartialBusy):
                self.store.incoming.discard(each.id)
            each.held.discard()
        else:
            self.store.incoming.discard(each.id)
        del self.staged[place]

    @rule(place=PLACES)
    def expire(self, place: int) -> None:
        if (each := self.staged.get(place)) and not each.held:
            os.utime(self.store.volume.staging_dir / f"{each.id}.part", (0, 0))
            self.restart()  # else the file would be new to the store, and have its whole time before it
            each.has_expired = True

    @precondition(lambda self: self.staged)
    @rule()
    def sweep(self) -> None:
        self.store.sweep()
        self.staged = {place: each for place, each in self.staged.items() if not each.has_expired}

    @invariant()
    def everything_is_where_it_should_be(self) -> None:
        found = {partial.id: (partial.size_bytes, partial.is_active) for partial in self.store.incoming.partials()}
        assert found == {each.id: (len(each.content), each.held is not None) for each in self.staged.values()}
        for each in self.staged.values():
            assert (self.store.volume.staging_dir / f"{each.id}.part").read_bytes() == each.content
        for partial_id, content in self.published.items():
            assert (self.store.root / partial_id).read_bytes() == content
            assert self.store.incoming.find(partial_id).is_published


StagingMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStaging = StagingMachine.TestCase
