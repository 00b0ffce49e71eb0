"""Compares who reads the corpus: the service, the vendor's library alone, and tesseract.

TEST_CORPUS=all reads every file and prints the table of docs/recognition.md, which takes minutes; otherwise a sample is
read. Tesseract gets the pages of PDFs as poppler renders them.
"""

import difflib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from app.engine.native.workdir import WorkDirectories
from tests.corpus.case import LINES, Case
from tests.corpus.pdf_files import PDF_CASES, TEXT_CASES
from tests.corpus.raster_files import RASTER_CASES
from tests.corpus.tiff_files import TIFF_CASES
from tests.corpus.zip_files import ZIP_CASES
from tests.support.service import RunningService
from tests.support.supervised import NATIVE
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
    pytest.mark.skipif(not shutil.which("tesseract"), reason="tesseract is not installed"),
    pytest.mark.skipif(not shutil.which("pdftoppm"), reason="poppler is not installed"),
    pytest.mark.timeout(3000),
]
IS_WHOLE = os.environ.get("TEST_CORPUS") == "all"
SAMPLE_STEP = 5
"""Every how manyth file is read, unless all are."""
EVERY = [*RASTER_CASES, *TIFF_CASES, *PDF_CASES, *TEXT_CASES, *ZIP_CASES]
CASES = EVERY if IS_WHOLE else EVERY[3::SAMPLE_STEP]
TRUTH = "".join("".join(LINES).split())


def is_read(text: str) -> bool:
    """Return whether the text is the beginning of the page's; without a licence the engine cuts the rest."""
    read = "".join(text.split())
    expected = TRUTH[: len(read)] if len(read) < len(TRUTH) else TRUTH
    return len(read) >= 3 and difflib.SequenceMatcher(None, expected, read, autojunk=False).ratio() > 0.7


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of the cases, by name."""
    folder = tmp_path_factory.mktemp("corpus")
    made = {case.name: folder / str(number) for number, case in enumerate(CASES)}
    for case in CASES:
        made[case.name].write_bytes(case.make())
    return made


@pytest.fixture(scope="module")
def by_service(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the service answers to each file, in jobs of one engine process: one for each password."""
    answers: dict[str, Any] = {}
    with RunningService(
        tmp_path_factory.mktemp("service"), native_dir=NATIVE, max_image_files=500, recognition_timeout="10m"
    ) as service:
        service.client.timeout = httpx.Timeout(300)
        service.wait_until_ready()
        for password in {case.password for case in CASES}:
            names = [case.name for case in CASES if case.password == password]
            form = [("file", (name, files[name].read_bytes())) for name in names]
            headers = {"prefer": "respond-async"} | ({"x-pdf-password": quote(password)} if password else {})
            answers |= results_of(service, form, headers)
    return answers


def results_of(service: RunningService, form: Any, headers: dict[str, str]) -> dict[str, Any]:
    """Return the results of a job by the names of its files."""
    answer = service.client.post("/ocr", files=form, headers=headers).raise_for_status()
    location = answer.headers["location"]
    eventually(lambda: service.client.get(location).json()["finished_at"], within=2500)
    job = service.client.get(location).json()
    if job["state"] == "failed":  # not one file of the job was read
        return {name: {"recognition": None, "error": job["error"]} for _, (name, _) in form}
    return {each["name"]: each for each in service.client.get(f"{location}/results").json()["results"]}


@pytest.fixture(scope="module")
def by_vendor(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """Which files the vendor's library alone reads, in a process like the engine's."""
    folder = tmp_path_factory.mktemp("vendor")
    (folder / "models").mkdir()
    work = WorkDirectories(folder / "state", folder / "models", NATIVE)
    directory = work.prepare()
    lines = "".join(f"{path}\n" for path in files.values())
    done = subprocess.run(
        [sys.executable, "-m", "tests.corpus.vendor_alone"],
        input=lines, env=work.environment(directory), cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    work.close()
    texts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", "null"))]
    texts += [None] * (len(files) - len(texts))  # it died
    return {
        case.name: bool(found) and len(found) == case.page_count and all(is_read(text) for text in found)
        for case, found in zip(CASES, texts, strict=True)
    }


@pytest.fixture(scope="module")
def by_tesseract(files: dict[str, Path]) -> dict[str, bool]:
    """Which files tesseract reads."""
    return {case.name: tesseract_reads(case, files[case.name]) for case in CASES}


def tesseract_reads(case: Case, path: Path) -> bool:
    pages = [path]
    if case.name.startswith("PDF"):
        password = ("-upw", case.password) if case.password else ()
        subprocess.run(["pdftoppm", "-r", "150", *password, str(path), f"{path}-p"], capture_output=True, check=False)
        pages = sorted(path.parent.glob(f"{path.name}-p*"))
    texts = []
    for page in pages:
        done = subprocess.run(
            ["tesseract", str(page), "stdout", "--psm", "6"],
            capture_output=True, text=True, errors="replace", check=False, env=os.environ | {"OMP_THREAD_LIMIT": "1"},
        )  # fmt: skip
        texts += [done.stdout] if done.returncode == 0 else []
    return bool(texts) and is_read(texts[0])


def said_by_service(case: Case, answer: Any) -> str:
    """Return `read`, the type of the problem, or the codes of the warnings; empty if the file is lost silently."""
    if answer["error"]:
        return str(answer["error"]["type"]).rpartition(":")[2]
    pages = answer["recognition"]["pages"]
    codes = {warning["code"] for page in pages for warning in page["warnings"]}
    reads = len(pages) == case.page_count and all(is_read(page["text"]) for page in pages)
    return ", ".join([*(["read"] if reads else []), *sorted(codes)])


def test_what_others_read_is_not_lost_silently(
    by_service: dict[str, Any], by_vendor: dict[str, bool], by_tesseract: dict[str, bool]
) -> None:
    """What tesseract or the vendor alone reads is read by the service too, or the service says why not."""
    said = {case.name: said_by_service(case, by_service[case.name]) for case in CASES}
    for case in CASES:
        others = ["yes" if by[case.name] else "no" for by in (by_vendor, by_tesseract)]
        print(f"| {case.name} | {said[case.name] or '**no**'} | {' | '.join(others)} |")

    lost = [case.name for case in CASES if not said[case.name] and (by_vendor[case.name] or by_tesseract[case.name])]
    unread = [case.name for case in CASES if case.error is None and not said[case.name].startswith("read")]
    assert lost == []
    assert unread == []
