"""Compares how three readers recognise the corpus: the service, the vendor's library alone, and tesseract.

TEST_CORPUS=all reads every file and prints the tables of docs/recognition.md, which takes a quarter of an hour of CPU;
otherwise a sample is read. Tesseract gets the pages of PDFs as poppler renders them.
"""

import difflib
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from app.engine.native.workdir import WorkDirectories
from tests.corpus.case import Case
from tests.corpus.language_files import FONT, LANGUAGE_CASES
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
    pytest.mark.skipif(not FONT.is_file(), reason="fonts-dejavu-core is not installed"),
    pytest.mark.timeout(10_000),
]
IS_WHOLE = os.environ.get("TEST_CORPUS") == "all"
SAMPLE_STEP = 6
"""Every how manyth file is read, unless all are."""
EVERY = [*RASTER_CASES, *TIFF_CASES, *PDF_CASES, *TEXT_CASES, *ZIP_CASES, *LANGUAGE_CASES]
CASES = EVERY if IS_WHOLE else EVERY[3::SAMPLE_STEP]
READ, LOST, NOT_INSTALLED = "yes", "no", "not installed"


def squeezed(lines: Iterable[str]) -> str:
    """Return the characters of lines without spaces, as composed characters."""
    return unicodedata.normalize("NFC", "".join("".join(lines).split()))


def reading(case: Case, texts: list[str]) -> str:
    """Return `yes` if every page has the text or its beginning, which is all that the engine returns without a licence;
    with the letters beyond ASCII that it lost; and otherwise `no`."""
    truth, lost = squeezed(case.lines), set[str]()
    for text in texts:
        read = squeezed(text.splitlines())
        expected = truth[: len(read)]
        if len(read) < 3 or difflib.SequenceMatcher(None, expected, read, autojunk=False).ratio() <= 0.7:
            return LOST
        # A letter or two that the reader added or dropped move the end.
        lost |= {letter for letter in expected[:-2] if ord(letter) > 127} - set(read)
    if len(texts) != case.page_count:
        return LOST
    return READ if not lost else f"{READ}, without {' '.join(sorted(lost))}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of the cases, by name."""
    folder = tmp_path_factory.mktemp("corpus")
    made = {case.name: folder / str(number) for number, case in enumerate(CASES)}
    for case in CASES:
        made[case.name].write_bytes(case.make())
    return made


@pytest.fixture(scope="module")
def by_service(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the service answers to each file, in jobs of one engine process: one for each password and language."""
    answers: dict[str, Any] = {}
    with RunningService(
        tmp_path_factory.mktemp("service"), native_dir=NATIVE, max_image_files=500, recognition_timeout="10m"
    ) as service:
        service.client.timeout = httpx.Timeout(300)
        service.wait_until_ready()
        for password, language in sorted({(case.password or "", case.language) for case in CASES}):
            names = [case.name for case in CASES if (case.password or "", case.language) == (password, language)]
            headers = {"prefer": "respond-async"} | ({"x-pdf-password": quote(password)} if password else {})
            # In a job each file of a ZIP archive has a result of its own.
            archives = [name for name in names if name.startswith("ZIP ")]
            for name in archives:
                answers[name] = result_of(service, files[name].read_bytes(), language)
            form = [("file", (name, files[name].read_bytes())) for name in names if name not in archives]
            answers |= results_of(service, form, headers, language)
    return {case.name: said_by_service(case, answers[case.name]) for case in CASES}


def result_of(service: RunningService, data: bytes, language: str) -> dict[str, Any]:
    """Return the result of one file as a job would have it."""
    answer = service.client.post(
        "/ocr", content=data, params={"language": language}, headers={"accept": "application/json"}
    )
    body = answer.json()
    return {"recognition": body, "error": None} if answer.is_success else {"recognition": None, "error": body}


def results_of(service: RunningService, form: Any, headers: dict[str, str], language: str) -> dict[str, Any]:
    """Return the results of a job by the names of its files."""
    answer = service.client.post("/ocr", files=form, headers=headers, data={"language": language}).raise_for_status()
    location = answer.headers["location"]
    eventually(lambda: service.client.get(location).json()["finished_at"], within=5000)
    job = service.client.get(location).json()
    if job["state"] == "failed":  # not one file of the job was read
        return {name: {"recognition": None, "error": job["error"]} for _, (name, _) in form}
    return {each["name"]: each for each in service.client.get(f"{location}/results").json()["results"]}


def said_by_service(case: Case, answer: Any) -> str:
    """Return how the file is read and the codes of the warnings, or the type of the problem."""
    if answer["error"]:
        return str(answer["error"]["type"]).rpartition(":")[2]
    pages = answer["recognition"]["pages"]
    codes = {str(warning["code"]) for page in pages for warning in page["warnings"]} - {"text-cut-by-evaluation"}
    return ", ".join([reading(case, [page["text"] for page in pages]), *sorted(codes)])


@pytest.fixture(scope="module")
def by_vendor(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How the vendor's library alone reads each file, in a process like the engine's."""
    folder = tmp_path_factory.mktemp("vendor")
    (folder / "models").mkdir()
    work = WorkDirectories(folder / "state", folder / "models", NATIVE)
    directory = work.prepare()
    lines = "".join(f"{case.language} {files[case.name]}\n" for case in CASES)
    done = subprocess.run(
        [sys.executable, "-m", "tests.corpus.vendor_alone"],
        input=lines, env=work.environment(directory), cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    work.close()
    texts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(("[", "null"))]
    texts += [None] * (len(files) - len(texts))  # it died
    return {case.name: reading(case, found or []) for case, found in zip(CASES, texts, strict=True)}


@pytest.fixture(scope="module")
def by_tesseract(files: dict[str, Path]) -> dict[str, str]:
    """How tesseract reads each file."""
    listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=True).stdout.split()
    return {
        case.name: tesseract_reads(case, files[case.name]) if case.tesseract in listed else NOT_INSTALLED
        for case in CASES
    }


def tesseract_reads(case: Case, path: Path) -> str:
    pages = [path]
    if case.name.startswith("PDF"):
        password = ("-upw", case.password) if case.password else ()
        subprocess.run(["pdftoppm", "-r", "150", *password, str(path), f"{path}-p"], capture_output=True, check=False)
        pages = sorted(path.parent.glob(f"{path.name}-p*"))
    texts = []
    for page in pages:
        done = subprocess.run(
            ["tesseract", str(page), "stdout", "--psm", "6", "-l", case.tesseract],
            capture_output=True, text=True, errors="replace", check=False, env=os.environ | {"OMP_THREAD_LIMIT": "1"},
        )  # fmt: skip
        # Tesseract itself reads the pages of a TIFF, and puts a form feed after each.
        texts += done.stdout.rstrip("\f").split("\f") if done.returncode == 0 else []
    return reading(case, texts)


def group_of(case: Case) -> str:
    """Return the name of the group of files that a case is counted in."""
    if case in LANGUAGE_CASES:
        return "languages"
    return case.name.replace("BigTIFF", "TIFF").partition(" ")[0].rstrip(",")


def print_tables(columns: tuple[dict[str, str], ...]) -> None:
    """Print the tables of docs/recognition.md: the files of each group that are read, and each file."""
    print()
    for group, members in groupby(sorted(CASES, key=group_of), key=group_of):
        cases = list(members)
        counts = [sum(by[case.name].startswith(READ) for case in cases) for by in columns]
        refused = sum(case.error is not None for case in cases)
        print(f"| {group} | {len(cases)} | {refused} | {' | '.join(map(str, counts))} |")
    print()
    for case in CASES:
        print(f"| {case.name} | {' | '.join(by[case.name] for by in columns)} |")


def lost_letters(answer: str) -> set[str]:
    """Return the letters that a reader lost, as `reading` states them."""
    return set(answer.partition("without ")[2].partition(",")[0].split())


def test_what_others_read_is_not_lost_silently(
    by_service: dict[str, str], by_vendor: dict[str, str], by_tesseract: dict[str, str]
) -> None:
    """What tesseract or the vendor alone reads is read by the service too, or the service says why not.

    The service loses no letter that the vendor alone reads. The letters that the vendor itself loses are only printed.
    """
    print_tables((by_service, by_vendor, by_tesseract))

    others = {case.name: [by[case.name].startswith(READ) for by in (by_vendor, by_tesseract)] for case in CASES}
    lost = [case.name for case in CASES if by_service[case.name] == LOST and any(others[case.name])]
    unread = [case.name for case in CASES if case.error is None and not by_service[case.name].startswith(READ)]
    letters = {
        case.name: more
        for case in CASES
        if by_vendor[case.name].startswith(READ)
        and (more := lost_letters(by_service[case.name]) - lost_letters(by_vendor[case.name]))
    }
    assert lost == []
    assert unread == []
    assert letters == {}
