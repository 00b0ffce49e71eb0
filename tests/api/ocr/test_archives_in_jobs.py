"""ZIP archives in jobs: each file of an archive is a file of the job, with a result or a problem of its own."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.http.request_errors import UnsupportedArchive
from app.api.images import archives
from app.api.images.archives import ArchiveLimits, open_archive
from app.engine.contract.archive_members import is_hidden
from app.errors import StoreFull
from tests.support.clients.answers import problem_of
from tests.support.service import RunningService
from tests.support.waiting import eventually

READS = "tests.support.engines:Reads"
ASYNC = {"prefer": "respond-async"}
MAX_BYTES = 1 << 20
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]) -> Iterator[RunningService]:
    limits: dict[str, Any] = {"max_image_files": 8, "max_image_bytes": MAX_BYTES}
    with RunningService(tmp_path_factory.mktemp("archives"), engine_class=READS, **limits, **jobs_settings) as service:
        yield service.wait_for_queue()


@pytest.fixture
def service(running: RunningService) -> RunningService:
    return running.wait_until_ready()


def archive(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, content in members.items():
            opened.writestr(zipfile.ZipInfo(name), content, method)  # a name alone could not be empty
    return file.getvalue()


def post(service: RunningService, *files: tuple[str, bytes], **headers: str) -> Any:
    form = [("file", (name, data, "application/octet-stream")) for name, data in files]
    return service.client.post("/ocr/jobs", files=form, headers=headers)


def results_of(service: RunningService, location: str) -> list[tuple[str, str | None]]:
    """Wait for the end of a job, and return of each file its name, and its text or the slug of its problem."""

    def ended() -> bool:
        return bool(service.client.get(location).raise_for_status().json()["finished_at"])

    assert eventually(ended)
    results = service.client.get(f"{location}/results").raise_for_status().json()["results"]
    assert [result["index"] for result in results] == list(range(len(results)))
    return [
        (result["name"], result["recognition"]["text"] if result["recognition"] else slug(result["error"]))
        for result in results
    ]


def slug(problem: dict[str, Any]) -> str:
    return str(problem["type"]).rpartition(":")[2]


def left_files(service: RunningService) -> list[str]:
    """Return the files of jobs that are in the model folder."""
    return [str(path) for path in (service.models_dir / ".store" / "jobs").glob("*/in/*")]


def test_each_file_of_an_archive_is_a_file_of_the_job(service: RunningService) -> None:
    """The files take the archive's place among the files of the form; folders and hidden files do not count."""
    members = {
        "scans/": b"",
        "scans/b.png": b"read b",
        "__MACOSX/scans/._b.png": b"resources",
        "../../a.png": b"read a",
        "./.hidden/a.png": b"read hidden",
        "scans/.DS_Store": b"x",
        "new\nline.png": b"read c",
    }
    answer = post(
        service,
        ("0.png", b"read zero"),
        ("one.zip", archive(members)),
        ("1.png", b"read one"),
        ("two.zip", archive({"last.png": b"read last"}, zipfile.ZIP_STORED)),
    )
    assert answer.status_code == 202
    assert (answer.json()["request"]["files"], answer.json()["progress"]["total"]) == (6, 6)

    assert results_of(service, answer.headers["location"]) == [
        ("0.png", "zero"),
        ("scans/b.png", "b"),
        ("../../a.png", "a"),
        ("new\N{REPLACEMENT CHARACTER}line.png", "c"),
        ("1.png", "one"),
        ("last.png", "last"),
    ]
    assert left_files(service) == []


def test_an_archive_is_the_body(service: RunningService) -> None:
    """`POST /ocr` that prefers a job takes an archive as the body, larger than an image may be; its bytes tell it."""
    members = {f"{number}.png": f"read {number}".encode() for number in range(3)}
    padding = {"padding.bin": bytes(MAX_BYTES)}
    sent = archive(members | padding, zipfile.ZIP_STORED)
    assert len(sent) > MAX_BYTES
    headers = ASYNC | {"content-type": "application/zip", "idempotency-key": "an-archive"}

    answers = [service.client.post("/ocr", content=sent, headers=headers) for _ in range(2)]
    assert [each.status_code for each in answers] == [202, 202], answers[0].text

    (location,) = {answer.headers["location"] for answer in answers}
    assert results_of(service, location)[:3] == [(f"{number}.png", str(number)) for number in range(3)]
    refused = service.client.post("/ocr", content=b"x" * len(sent), headers=headers | {"idempotency-key": "no-archive"})
    assert problem_of(refused) == (413, "body-too-large")


def damaged(sent: bytes, content: bytes) -> bytes:
    """Return an archive of which a stored file has another content than its checksum says."""
    assert sent.count(content) == 1
    return sent.replace(content, content[::-1])


def encrypted(sent: bytes, name: bytes) -> bytes:
    """Return an archive that says that a file is encrypted."""
    changed = bytearray(sent)
    changed[sent.index(name) - 30 + 6] |= 1
    changed[sent.rindex(name) - 46 + 8] |= 1
    return bytes(changed)


def test_a_file_that_cannot_be_unpacked_spoils_no_other(service: RunningService) -> None:
    """An encrypted file, a damaged one and one with a rare compression are files with a problem."""
    members = {"a.png": b"read a", "secret.png": b"read secret", "torn.png": b"read torn", "z.png": b"read z"}
    sent = damaged(encrypted(archive(members, zipfile.ZIP_STORED), b"secret.png"), b"read torn")
    rare = archive({"rare.png": b"read rare"}, zipfile.ZIP_LZMA)

    answer = post(service, ("a.zip", sent), ("rare.zip", rare)).raise_for_status()

    assert results_of(service, answer.headers["location"]) == [
        ("a.png", "a"),
        ("secret.png", "image-unreadable"),
        ("torn.png", "image-unreadable"),
        ("z.png", "z"),
        ("rare.png", "image-unreadable"),
    ]
    problems = service.client.get(f"{answer.headers['location']}/results").json()["results"]
    assert [what in problems[number]["error"]["detail"] for number, what in {1: "encrypted", 2: "damaged"}.items()]


def test_torn_archives_documents_and_inner_archives_are_one_file_each(service: RunningService) -> None:
    """A torn archive is one file with a problem; a document, and an archive in an archive, are one file each."""
    document = archive({"[Content_Types].xml": b"<x/>", "word/document.xml": b"<x/>"})
    inner = archive({"a.png": b"read a", "b.png": b"read b"})
    answer = post(
        service,
        ("torn.zip", inner[: len(inner) // 2]),
        ("letter.docx", document),
        ("outer.zip", archive({"inner.zip": inner})),
        ("last.png", b"read last"),
    ).raise_for_status()

    found = results_of(service, answer.headers["location"])

    assert [name for name, _ in found] == ["torn.zip", "letter.docx", "inner.zip", "last.png"]
    assert (found[0][1], found[3][1]) == ("image-unreadable", "last")


def damaged_directory(at: int, value: bytes) -> bytes:
    """Return an archive of three files with bytes of its first directory entry (`at` from 0) or its end changed."""
    data = bytearray(archive({"a.png": b"read a", "b.png": b"read b", "c.png": b"read c"}))
    place = data.index(b"PK\1\2") + at if at >= 0 else len(data) + at
    data[place : place + len(value)] = value
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [damaged_directory(32, b"\xff"), damaged_directory(-6, b"\xff\xff\xff\x7f"), damaged_directory(-12, b"\2")],
    ids=["long comment", "offset before the file", "another count"],
)
def test_an_archive_with_a_damaged_directory_is_one_unreadable_file(service: RunningService, data: bytes) -> None:
    """Its files are not known for certain, so none is lost silently; the folder of the models is not at fault."""
    answer = post(service, ("torn.zip", data), ("last.png", b"read last")).raise_for_status()

    assert results_of(service, answer.headers["location"]) == [("torn.zip", "image-unreadable"), ("last.png", "last")]


def test_a_file_without_a_name_is_read(service: RunningService) -> None:
    answer = post(service, ("a.zip", archive({"": b"read a"})), ("last.png", b"read last")).raise_for_status()

    assert [text for _, text in results_of(service, answer.headers["location"])] == ["a", "last"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (
            {f"{number}.png": b"x" for number in range(9)},
            "9 files, and the limit is 8 (OCR_MAX_IMAGE_FILES). Send its files in several jobs.",
        ),
        (
            {"a.png": b"read a", "large.png": bytes(MAX_BYTES + 1)},
            "has more than 1048576 bytes (OCR_MAX_IMAGE_BYTES). Make the file smaller, or leave it out.",
        ),
        ({f"{number}.png": bytes(MAX_BYTES) for number in range(4)}, "more than 100 times its bytes"),
        ({"folder/": b"", ".hidden": b"x"}, "Put at least one image"),
    ],
    ids=["too many files", "a file too large", "a bomb", "no files"],
)
def test_an_archive_beyond_a_limit_creates_no_job(service: RunningService, members: Members, words: str) -> None:
    """The limits are those of a form; and the files of an archive may not have very many times its bytes."""
    before = service.client.get("/ocr/jobs").json()["count"]

    answer = post(service, ("bomb.zip", archive(members)))

    assert problem_of(answer) == (422, "unsupported-archive")
    assert "'bomb.zip'" in answer.json()["detail"]
    assert words in answer.json()["detail"]
    assert service.client.get("/ocr/jobs").json()["count"] == before
    assert left_files(service) == []


def test_the_directory_of_an_archive_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`zipfile` reads the directory at once, so an archive that has almost nothing else is refused before that."""
    path = tmp_path / "a.zip"
    path.write_bytes(archive({f"{number:0>200}": b"" for number in range(6000)}, zipfile.ZIP_STORED))
    monkeypatch.setattr(archives, "DIRECTORY_BYTES", 0)
    with (
        pytest.raises(UnsupportedArchive, match="its directory has more than 1048576 bytes"),
        open_archive(path, "a.zip", ArchiveLimits(MAX_BYTES, 10)),
    ):
        pass


@pytest.mark.parametrize("name", ["a.png", "./a.png", "../b/a.png", "a/__MACOSX.png", "..", "a..b/c"])
def test_usual_names_are_not_hidden(name: str) -> None:
    """A file counts, also if its name begins with the folder itself."""
    assert not is_hidden(name)


def test_unpacking_looks_at_the_disk(tmp_path: Path) -> None:
    """Before each write the disk is asked for space, so that an archive cannot fill it."""
    path = tmp_path / "a.zip"
    path.write_bytes(archive({"a": b"1", "b": bytes(3 << 20)}))
    asked = []

    def require_space() -> None:
        asked.append(1)
        if len(asked) == 3:
            raise StoreFull("a reason", free_bytes=0)

    with open_archive(path, "a.zip", ArchiveLimits(8 << 20, 10)) as opened:
        assert opened.unpack(0, tmp_path / "0", require_space) is None
        with pytest.raises(StoreFull):
            opened.unpack(1, tmp_path / "1", require_space)
    assert (tmp_path / "0").read_bytes() == b"1"
