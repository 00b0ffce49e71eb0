"""The exact sequences of requests by which models were once lost."""

import time

from tests.support.waiting import eventually
from tests.volumes.asking import (
    SEEN_SECONDS,
    Pair,
    Result,
    delete,
    in_trash,
    listed,
    restore,
    row,
    succeed,
    upload_to_both,
)

MODELS = 12
TWO_SWEEPS_SECONDS = 9.0


@row("12 deleted through A: still in the trash 9 s later")
def deleted_stay_in_the_trash(pair: Pair, result: Result) -> None:
    """Models that A deletes, after B has listed them, are still in the trash after two sweeps of each service."""
    ids = _delete_through_a(pair)
    _let_two_sweeps_pass(pair)
    for which, client in zip("AB", pair.both, strict=True):
        missing = ids - in_trash(client)
        result.check(not missing, f"{len(missing)} of {MODELS} are not in the trash that {which} lists")
    kept = len(ids & in_trash(pair.a) & in_trash(pair.b))
    if pair.behind:
        kept = sum((pair.behind / ".store/trash" / entry).exists() for entry in ids)
        result.check(kept == MODELS, f"{MODELS - kept} of {MODELS} have no file in the trash")
    result.counts = {"kept": kept}
    result.text = f"{kept}/{MODELS}"


@row("12 restored through B at once: still there 9 s later")
def restored_stay(pair: Pair, result: Result) -> None:
    """Models that A deletes and B restores at once still exist after two sweeps of each service."""
    ids = _delete_through_a(pair)
    answers = [restore(pair.b, entry) for entry in sorted(ids)]
    result.check_statuses(answers, 200)
    _let_two_sweeps_pass(pair)
    names = {pair.name(number) for number in range(MODELS)}
    for which, client in zip("AB", pair.both, strict=True):
        missing = names - listed(client)
        result.check(not missing, f"{len(missing)} of {MODELS} are not among the models that {which} lists")
    kept = len(names & listed(pair.a) & listed(pair.b))
    if pair.behind:
        kept = sum((pair.behind / name).exists() for name in names)
        result.check(kept == MODELS, f"{MODELS - kept} of {MODELS} have no file")
    result.counts = {"kept": kept}
    result.text = f"{kept}/{MODELS}"


def _let_two_sweeps_pass(pair: Pair) -> None:
    """Wait for two sweeps. Both services are asked for lists meanwhile, which keeps their clients' caches filled."""
    deadline = time.monotonic() + TWO_SWEEPS_SECONDS
    while time.monotonic() < deadline:
        for client in pair.both:
            in_trash(client)
            listed(client)
        time.sleep(0.2)


def _delete_through_a(pair: Pair) -> set[str]:
    """Upload models, let both services list them, delete them through A, and return their trash ids."""
    names = {pair.name(number) for number in range(MODELS)}
    for name in sorted(names):
        upload_to_both(pair, name)
    eventually(lambda: names <= listed(pair.b), within=SEEN_SECONDS)
    ids = {str(succeed(delete(pair.a, name)).json()["trash_id"]) for name in sorted(names)}
    listed(pair.b)
    return ids
