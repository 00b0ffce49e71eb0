"""Two services on one folder of a network file system, each with a stale cache of what the other changes.

Each service is a process that remembers names, attributes and listings, see `tests/support/aged`. The test process does
not, and checks the real folder after each step.
"""

import os
import random
from collections.abc import Iterable, Iterator
from functools import cache

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.support.aged.checked import Checked
from tests.support.aged.two import LONG, TINY, Ageing, TwoServices, find

A, B = 0, 1
NAMES = ("a.bin", "b.bin", "old_c.bin", "folder/d.gguf")
EXAMPLES = int(os.environ.get("TEST_AGED_EXAMPLES", "40"))
SECONDS = {"short": (0.5, False), "long": (5.0, False), "forever": (5.0, True)}

services_of_either = st.sampled_from([A, B])
names = st.sampled_from(NAMES)
numbers = st.integers(0, 5)


@cache
def two_services() -> TwoServices:
    """Start the two services once for all tests."""
    return TwoServices()


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    yield
    if two_services.cache_info().currsize:
        two_services().close()
        two_services.cache_clear()


AGEINGS = {
    "all old": Ageing(),
    "present attributes": Ageing(old_attributes=False),
    "present lists": Ageing(old_lists=False),
    "for ever": Ageing(forever=True),
}


@pytest.fixture(params=AGEINGS)
def both(request: pytest.FixtureRequest) -> Checked:
    """Two services whose caches keep what they saw for five seconds, or for ever."""
    return Checked(two_services(), AGEINGS[request.param])


def test_a_sweep_keeps_models_that_another_service_has_just_trashed(both: Checked) -> None:
    """A sweep does not take a trashed file for a second name, although the stale cache still shows the model."""
    for number in range(12):
        both.upload(A, f"{number}.bin")
        both.look(B, "find", name=f"{number}.bin")
    for number in range(12):
        assert both.delete(A, f"{number}.bin").is_done

    both.sweep(B)

    assert sorted(map(len, find(both.services.root).trash.values())) == sorted(both.promised.sent)


def test_a_sweep_keeps_models_that_are_being_trashed_during_its_lookup(both: Checked) -> None:
    """A sweep whose stale listing has the record of an entry without the file keeps the entry."""
    for number in range(12):
        both.upload(A, f"{number}.bin")
    both.delay(0.002)
    for number in range(12):
        assert both.delete_while_the_other_looks(A, f"{number}.bin").is_done

    both.sweep(B)

    assert sorted(map(len, find(both.services.root).trash.values())) == sorted(both.promised.sent)


def test_a_sweep_with_a_stale_listing_keeps_the_trash(both: Checked) -> None:
    """A sweep whose listing of the trash is older than its lookups of files keeps every entry."""
    for number in range(12):
        both.upload(A, f"{number}.bin")
        both.delete(A, f"{number}.bin")
        both.sweep(B)
        both.look(B, "trash")

    assert sorted(map(len, find(both.services.root).trash.values())) == sorted(both.promised.sent)


def test_a_model_that_another_service_restores_exists_once(both: Checked) -> None:
    """After a sweep by each service the model is at its name or in the trash, and not in both."""
    both.upload(A, "a.bin")
    both.look(B, "find", name="a.bin")
    trash_id = both.delete(A, "a.bin").done

    is_restored = both.restore(B, trash_id).is_done
    both.let_pass(B, 10)  # a service that still sees the model at its name may refuse to restore it
    is_restored = is_restored or both.restore(B, trash_id).is_done
    both.sweep(A)
    both.sweep(B)

    found = find(both.services.root)
    assert [*found.models.values(), *found.trash.values(), *found.strays.values()] == list(both.promised.sent.values())
    assert ("a.bin" in found.models) == is_restored


@pytest.mark.parametrize("first", [A, B])
def test_one_of_two_replacements_of_the_same_version_succeeds(both: Checked, first: int) -> None:
    """Of two replacements of one version by two services, one after the other, the second is refused."""
    etag = both.upload(A, "a.bin").done
    both.let_pass(B, 10)
    both.look(B, "find", name="a.bin")

    answers = [both.upload(by, "a.bin", if_match=[etag]) for by in (first, 1 - first)]

    assert [answer.is_done for answer in answers] == [True, False]


@pytest.mark.parametrize("seed", range(3))
def test_of_two_concurrent_changes_at_most_one_succeeds(both: Checked, seed: int) -> None:
    """Two services change one version at once, during sweeps and scans: at most one change succeeds."""
    chance = random.Random(seed)  # noqa: S311 - seeded, so that each run is equal
    both.delay(0.001)
    for _ in range(20):
        name = chance.choice(NAMES[:2])
        first = chance.choice(["upload", "upload", "delete"])
        second = chance.choice(["upload", "delete", "sweep", "trash", "scan"])
        both.at_once(name, (first, second) if chance.random() < 0.5 else (second, first))
        both.let_pass(chance.choice([A, B]), chance.choice([0, 0, 3]))

    assert len(both.etags[NAMES[0]]) > 1


def test_of_two_concurrent_restores_one_succeeds(both: Checked) -> None:
    """Two services restore one entry at once, to one name or to two: one restore succeeds."""
    both.delay(0.001)
    for number in range(10):
        both.upload(A, f"{number}.bin")
        both.let_pass(B, 10)
        trash_id = both.delete(number % 2, f"{number}.bin").done
        both.restore_at_once(trash_id, (f"{number}.bin", f"other {number}.bin" if number % 3 else f"{number}.bin"))


@pytest.mark.parametrize("permanent", [False, True])
def test_an_exact_deletion_keeps_a_newer_version(both: Checked, permanent: bool) -> None:  # noqa: FBT001
    """The deletion of an exact version is refused if another service has just replaced that version."""
    etag = both.upload(A, "a.bin").done
    both.let_pass(B, 10)
    both.look(B, "find", name="a.bin")
    both.upload(A, "a.bin", if_match=[etag])

    assert not both.delete(B, "a.bin", permanent=permanent, if_match=[etag]).is_done

    assert "a.bin" in both.now.models


def test_a_model_that_another_service_has_just_protected_is_not_changed(both: Checked) -> None:
    """A deletion and a replacement are refused, although the stale cache shows no protection."""
    both.upload(A, "a.bin")
    both.let_pass(B, 10)
    both.look(B, "find", name="a.bin")
    both.unprotect(B, "a.bin")
    both.protect(A, "a.bin")

    assert not both.delete(B, "a.bin").is_done
    assert not both.upload(B, "a.bin", if_match=["*"]).is_done


def test_a_file_that_another_service_has_published_is_not_changed(both: Checked) -> None:
    """A service that still sees the partial file of a published model does not write into the model."""
    partial_id = both.begin(B, "a.bin")
    both.append(partial_id)
    both.release_upload(partial_id)
    both.let_pass(A, 10)
    assert both.resume(A, partial_id).is_done
    assert both.publish(partial_id).is_done

    if both.resume(B, partial_id).is_done:
        both.append(partial_id)


@pytest.mark.parametrize("is_seen_running", [False, True])
def test_a_job_that_another_service_has_finished_is_not_taken_over(both: Checked, is_seen_running: bool) -> None:  # noqa: FBT001
    """The job stays finished, although the stale cache of this service shows an older record."""
    job_id = both.create_job(B)
    assert job_id
    if is_seen_running:
        both.take_job(B, job_id)
        both.promised.jobs[job_id].holder = None
        both.services.ask(B, "release_job", job_id=job_id)
    both.let_pass(A, 10)
    assert both.take_job(A, job_id).done
    assert both.finish_job(job_id).is_done

    assert not both.take_job(B, job_id).done


class ServicesMachine(RuleBasedStateMachine):
    """Hypothesis runs any operation on either service, in any order."""

    both: Checked

    @initialize(
        seconds=st.sampled_from(sorted(SECONDS)),
        keeps=st.booleans(),
        old_attributes=st.booleans(),
        old_lists=st.booleans(),
        no_rename_flags=st.booleans(),
        asks_again=st.booleans(),
    )
    def start(self, seconds: str, keeps: bool, **ageing: bool) -> None:  # noqa: FBT001 - hypothesis names it
        """Start with a long retention or one that ends at once; both services have cached a few models."""
        for_seconds, forever = SECONDS[seconds]
        self.both = Checked(two_services(), Ageing(for_seconds, forever, **ageing), LONG if keeps else TINY)
        for by, name in enumerate(NAMES[1:]):
            self.both.upload(by % 2, name)
        for by in (A, B):
            self.both.look(by, "scan")

    # Models.

    @rule(by=services_of_either, name=names)
    def upload(self, by: int, name: str) -> None:
        self.both.upload(by, name)

    @rule(by=services_of_either, name=names)
    def replace_any(self, by: int, name: str) -> None:
        self.both.upload(by, name, if_match=["*"])

    @rule(by=services_of_either, name=names, back=st.sampled_from([1, 1, 2]))
    def replace(self, by: int, name: str, back: int) -> None:
        """Replace the present version, or try to replace the one before."""
        if len(etags := self.both.etags[name]) >= back:
            self.both.upload(by, name, if_match=[etags[-back]])

    @rule(by=services_of_either, name=names)
    def replace_the_version_seen(self, by: int, name: str) -> None:
        """Replace the version that this service sees."""
        if (seen := self.both.look(by, "find", name=name)).is_done:
            self.both.upload(by, name, if_match=[seen.done])

    @rule(by=services_of_either, name=names)
    def upload_unless_there(self, by: int, name: str) -> None:
        self.both.upload(by, name, if_none_match=["*"])

    @rule(by=services_of_either, name=names, permanent=st.booleans())
    def delete(self, by: int, name: str, permanent: bool) -> None:  # noqa: FBT001
        self.both.delete(by, name, permanent=permanent)

    @rule(by=services_of_either, name=names, back=st.sampled_from([1, 1, 2]), permanent=st.booleans())
    def delete_exactly(self, by: int, name: str, back: int, permanent: bool) -> None:  # noqa: FBT001
        if len(etags := self.both.etags[name]) >= back:
            self.both.delete(by, name, permanent=permanent, if_match=[etags[-back]])

    @rule(by=services_of_either)
    def prune(self, by: int) -> None:
        self.both.prune(by)

    @rule(by=services_of_either, name=names)
    def protect(self, by: int, name: str) -> None:
        self.both.protect(by, name)

    @rule(by=services_of_either, name=names)
    def unprotect(self, by: int, name: str) -> None:
        self.both.unprotect(by, name)

    @rule(by=services_of_either, name=names)
    def lease(self, by: int, name: str) -> None:
        """Lease the model, or release it if it is leased."""
        if name in self.both.promised.leased:
            self.both.release(name)
        else:
            self.both.lease(by, name)

    @rule(by=services_of_either, verb=st.sampled_from(["scan", "trash"]))
    def look(self, by: int, verb: str) -> None:
        self.both.look(by, verb)

    @rule(by=services_of_either, seconds=st.sampled_from([0.3, 3.0]))
    def let_pass(self, by: int, seconds: float) -> None:
        self.both.let_pass(by, seconds)

    # The trash.

    @rule(by=services_of_either, back=numbers, name=st.none() | names)
    def restore(self, by: int, back: int, name: str | None) -> None:
        for trash_id in self._newest(self.both.promised.trash_ids, back):
            self.both.restore(by, trash_id, name)

    @rule(by=services_of_either, back=numbers)
    def purge(self, by: int, back: int) -> None:
        for trash_id in self._newest(self.both.promised.trash_ids, back):
            self.both.purge(by, trash_id)

    @rule(by=services_of_either)
    def sweep(self, by: int) -> None:
        self.both.sweep(by)

    # Uploads in parts.

    @rule(by=services_of_either, name=names)
    def begin(self, by: int, name: str) -> None:
        partial_id = self.both.begin(by, name)
        if self.both.promised.parts[partial_id].holder is not None:
            self.both.append(partial_id)

    @rule(by=services_of_either, back=numbers)
    def continue_upload(self, by: int, back: int) -> None:
        """Append to a partial file, after resuming the file if no service has it."""
        for partial_id in self._newest(self.both.promised.parts, back):
            part = self.both.promised.parts[partial_id]
            if part.holder is None:
                self.both.resume(by, partial_id)
            if part.holder is not None:
                self.both.append(partial_id)

    @rule(back=numbers)
    def let_go(self, back: int) -> None:
        for partial_id in self._newest(self._in_hand(), back):
            self.both.release_upload(partial_id)

    @rule(back=numbers, replaces=st.booleans())
    def publish(self, back: int, replaces: bool) -> None:  # noqa: FBT001
        conditions = {"if_match": ["*"]} if replaces else {}
        for partial_id in self._newest(self._in_hand(), back):
            self.both.publish(partial_id, **conditions)

    @rule(by=services_of_either, back=numbers)
    def discard(self, by: int, back: int) -> None:
        for partial_id in self._newest(self.both.promised.parts, back):
            self.both.discard(by, partial_id)

    # Jobs.

    @rule(by=services_of_either)
    def create_job(self, by: int) -> None:
        self.both.create_job(by)

    @rule(by=services_of_either, back=numbers)
    def take_or_finish_job(self, by: int, back: int) -> None:
        for job_id in self._newest(self.both.promised.jobs, back):
            if self.both.promised.jobs[job_id].holder is None:
                self.both.take_job(by, job_id)
            else:
                self.both.finish_job(job_id)

    @rule(by=services_of_either, back=numbers)
    def cancel_job(self, by: int, back: int) -> None:
        for job_id in self._newest(self.both.promised.jobs, back):
            self.both.cancel_job(by, job_id)

    def _in_hand(self) -> list[str]:
        return [partial_id for partial_id, part in self.both.promised.parts.items() if part.holder is not None]

    @staticmethod
    def _newest(known: Iterable[str], back: int) -> list[str]:
        """Return one of the ids, counted back from the newest; none if there are no ids."""
        return [chosen[-1 - back % len(chosen)]] if (chosen := list(known)) else []


@pytest.mark.timeout(300)  # hypothesis needs longer to shrink a failure than to find it
class TestTwoServices(ServicesMachine.TestCase):  # type: ignore[valid-type]
    """Runs thousands of operations; each example starts with an empty folder."""


TestTwoServices.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
