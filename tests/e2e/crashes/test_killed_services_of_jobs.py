"""Services, and their database, are killed and stopped at random while they work on jobs: each unit has one outcome.

Lasts TEST_CHAOS_SECONDS for each backend, by default 120. Prints how the services were ended, and what
became of the jobs.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import BACKENDS
from tests.support.crash.job_callers import Callers, SlowHub
from tests.support.crash.job_ledger import Ledger
from tests.support.crash.many_services import ManyServices
from tests.support.deployed.postgres import Postgres, is_installed
from tests.support.waiting import eventually
from tests.support.webhook_receiver import WebhookReceiver, new_secret

SECONDS = float(os.environ.get("TEST_CHAOS_SECONDS", "120"))
READS = "tests.support.engines:Reads"
SECRET = new_secret()


@pytest.fixture
def hub() -> Iterator[SlowHub]:
    with SlowHub() as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    chance = random.Random(7)  # noqa: S311 - not for a secret
    with WebhookReceiver() as running:
        running.failing = lambda: chance.random() < 0.2
        running.on_sent = lambda sent: sent.verified(SECRET)  # now, since a signature is valid for five minutes
        yield running


@pytest.fixture(params=BACKENDS)
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres | None]:
    """Run a database of this test's own, which it ends; None for the queue in the folder."""
    if request.param == "folder":
        yield None
        return
    if not is_installed():
        pytest.skip("postgresql is not installed; .ci/run installs it")
    with Postgres(is_durable=True) as running:
        yield running


@pytest.fixture
def services(
    tmp_path: Path, hub: SlowHub, receiver: WebhookReceiver, postgres: Postgres | None
) -> Iterator[ManyServices]:
    running = ManyServices(
        tmp_path,
        postgres,
        engine_class=READS,
        pull_allowed_urls=hub.cdn_url,
        pull_retry_pause="0.1s",
        webhook_allowed_urls=receiver.url,
        webhook_secret=SECRET,
        webhook_retry_pause="0.1s",
    )
    try:
        yield running
    finally:
        running.close()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
def test_each_accepted_unit_has_one_outcome(services: ManyServices, hub: SlowHub, receiver: WebhookReceiver) -> None:
    """No job is lost, no unit has two results, no request makes two jobs, and no answer is a 500.

    Cancelled jobs stay cancelled, models that were pulled are whole, and each webhook arrives with one id.
    """
    ledger, chance = Ledger(), random.Random(20261127)  # noqa: S311 - not for a secret
    over_at = time.monotonic() + SECONDS
    with Callers(services.url, ledger, hub, receiver).calling():
        eventually(lambda: ledger.made, within=120)
        while time.monotonic() < over_at or not services.ends:
            time.sleep(chance.uniform(0, 2))
            services.end_one(chance)
    ledger.check_at_end(services.running[0].client, services.models, receiver)
    services.close()
    print_counts(services, ledger, receiver)

    assert ledger.wrong == []
    assert services.defects() == []
    assert Counter(ledger.ended.values())["succeeded"] > 0


def print_counts(services: ManyServices, ledger: Ledger, receiver: WebhookReceiver) -> None:
    """Print how parts were ended, a table of the jobs, units, webhooks and answers, and what is wrong."""
    kinds = Counter(path.rpartition("/")[0] + " " + ledger.ended[path] for path in ledger.made)
    rows: dict[str, Counter[str]] = {
        "ended": services.ends,
        "jobs": kinds,
        "units": Counter({"accepted": sum(len(made.fails) for made in ledger.made.values())}) + ledger.results,
        "problems of units": ledger.problems,
        "webhooks": ledger.webhooks | Counter({"ids": len({each.id for each in receiver.sent})}),
        "answers": Counter({str(status): count for status, count in ledger.statuses.items()}),
    }
    print(f"\n| {SECONDS:g} s | |\n|---|---|")
    for name, counts in rows.items():
        print(f"| {name} | {', '.join(f'{count:,} {what}' for what, count in sorted(counts.items()))} |")
    for wrong in ledger.wrong:
        print(wrong)
