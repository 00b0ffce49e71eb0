"""Several services on one folder."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.conftest import Serve
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually


def test_of_64_deletes_through_four_services_one_wins(serve: Serve, replicas: list[RunningService]) -> None:
    """Of 64 simultaneous deletions through four services one answers 200 and the others 404 or 409."""
    services = [*replicas, *(serve(replicas[0].folder, engine_class=ECHO) for _ in range(2))]
    models = services[0].models_dir
    for attempt in range(5):
        name = f"model-{attempt}.bin"
        (models / name).write_bytes(b"content")

        with ThreadPoolExecutor(64) as threads:
            deletes = [threads.submit(services[n % 4].client.delete, f"/models/{name}") for n in range(64)]
        answers = [delete.result() for delete in deletes]

        counts = Counter(answer.status_code for answer in answers)
        assert counts[200] == 1
        assert set(counts) <= {200, 404, 409}
        (receipt,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert (models / ".store/trash" / receipt["trash_id"]).read_bytes() == b"content"
        assert len(list((models / ".store/trash").glob("*.json"))) == attempt + 1
        assert not (models / name).exists()


def test_a_deletion_in_one_shows_in_the_other_within_a_second(replicas: list[RunningService]) -> None:
    """A service shows another service's deletion soon; they share only the folder."""
    one, other = replicas
    (one.models_dir / "a.bin").touch()
    eventually(lambda: other.client.get("/models").json()["count"] == 1, within=60)

    one.client.delete("/models/a.bin").raise_for_status()

    eventually(lambda: other.client.get("/models").json()["count"] == 0, within=60)


def test_each_service_has_an_engine_of_its_own(serve: Serve, replicas: list[RunningService]) -> None:
    """Services that share a state folder run separate engines in separate working directories."""
    one, other = serve(replicas[0].folder, engine_class=ECHO).wait_until_ready(), replicas[0]

    assert one.engine()["pid"] != other.engine()["pid"]
    one.stop()
    assert other.engine()["state"] == "ready"
    assert other.client.post("/engine/release").status_code == 200
