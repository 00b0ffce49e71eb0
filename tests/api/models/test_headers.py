"""`GET /models/{name}` says what the file says of itself."""

from pathlib import Path

from tests.support import model_files
from tests.support.service import RunningService


def test_a_gguf_file_tells_what_it_is(service: RunningService, models: Path) -> None:
    """Architecture and the like from the header; a file that is cut short says so, and so does one that is none."""
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
