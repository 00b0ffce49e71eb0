"""The command a newcomer runs, with the real AsposeAI."""

from tests.conftest import Serve


def test_it_starts_the_real_engine_lists_deletes_and_stops(serve: Serve) -> None:
    """The three calls of the README work on a real folder, with the real AsposeAI ready beside them."""
    service = serve()
    service.models_dir.joinpath("old_v1.bin").write_bytes(b"x" * 10)
    service.wait_until_ready()

    engine = service.engine()
    assert (engine["state"], engine["vendor"]["package"]) == ("ready", "aspose-ocr-python-net")
    assert service.client.get("/models/path").json() == {"path": str(service.models_dir.resolve())}
    assert service.client.delete("/models/old_v1.bin").status_code == 200
    assert service.client.get("/models").json()["count"] == 0
    assert service.stop() == 0
