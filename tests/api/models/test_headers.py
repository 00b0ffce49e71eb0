"""The header of a model file in `GET /models/{name}`."""

from pathlib import Path

from tests.support.files import model_files
from tests.support.service import RunningService


def test_the_detail_has_the_header_of_a_gguf_file(service: RunningService, models: Path) -> None:
    """A GGUF file has its format and facts; a truncated file and a file that is no GGUF have a problem."""
    whole = model_files.tiny_gguf()
    (models / "whole.gguf").write_bytes(whole)
    (models / "cut.gguf").write_bytes(whole[:-40])
    (models / "page.gguf").write_bytes(b"<html>not found</html>")
    (models / "notes.txt").write_bytes(b"hello")

    names = ("whole.gguf", "cut.gguf", "page.gguf", "notes.txt")
    header = {name: service.client.get(f"/models/{name}").json()["header"] for name in names}

    assert header["whole.gguf"]["format"] == "gguf"
    assert header["whole.gguf"]["problem"] is None
    assert header["whole.gguf"]["facts"]["architecture"] == "llama"
    assert header["whole.gguf"]["facts"]["tensor_count"] > 0
    assert "ends after" in header["cut.gguf"]["problem"]
    assert header["page.gguf"]["problem"] is not None
    assert header["notes.txt"] == {"format": "unknown", "problem": None, "facts": {}}
