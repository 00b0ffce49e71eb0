"""The service keeps to its OpenAPI document: schemathesis sends thousands of requests generated from it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from app.api.examples import BY_SCHEMA
from app.api.examples.ids import TRASH_ID
from app.api.examples.jobs import JOB
from app.api.http.keys import Scope, entry_for, new_key
from app.api.uploads.schemas import METADATA_PARAMETER
from app.engine.contract.processors import DEFAULT_MODEL
from app.jobs import records
from app.jobs.records import write_record
from app.jobs.units.kinds import ItemJobKind
from tests.support.clients.openapi_document import inlined, statuses_of
from tests.support.files.model_files import NO_TENSORS
from tests.support.hub import running_hub
from tests.support.service import RunningService

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CONFIG = """
hooks = "hooks.py"

[checks.not_a_server_error]
# 503 is a correct answer while the engine restarts, as after each release; 507 to an upload that announces a huge size;
# 504 to a call that gives the engine too little time.
expected-statuses = ["2xx", "3xx", "4xx", "503", "504", "507"]

[checks.positive_data_acceptance]
# 422 is a correct answer to a text that cannot be a model's name, which a schema cannot express in full; 460 to a chunk
# that does not match its checksum; 413 to more bytes than the header Upload-Length announces; 416 to a range after the
# end of a model.
expected-statuses = ["2xx", "304", "401", "403", "404", "409", "412", "413", "416", "422", "460", "503", "504", "507"]

[checks.negative_data_rejection]
# 412 refuses another version of tus; 413 a chunk with more bytes than its upload lacks; 460 one that does not match its
# checksum. The service may find them before what else is wrong with the request.
expected-statuses = [
    "400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429", "460", "5xx"
]
"""
HOOKS = """
import base64
import json
import pathlib
import re
import zlib

import schemathesis
from hypothesis import strategies
from schemathesis.specs.openapi.checks import use_after_free

@schemathesis.check
def use_after_free_but_of_jobs(ctx, response, case):
    # DELETE cancels a job, which can be read for a day after that. With --checks=all schemathesis ignores the check's
    # settings for single operations.
    return None if "{job_id}" in case.path else use_after_free(ctx, response, case)

@schemathesis.hook
def before_call(context, case, kwargs):
    # A number that schemathesis takes from an answer, such as Upload-Offset, is no value that it can send.
    for name, value in list((case.headers or {}).items()):
        if isinstance(value, int):
            case.headers[name] = str(value)
    # A pattern cannot say that base64 has a name in it, and random base64 hardly ever has one.
    metadata = str((case.headers or {}).get("Upload-Metadata", ""))
    if re.fullmatch(METADATA, metadata) and metadata != OF_MODEL:
        name = f"upload-{zlib.crc32(metadata.encode()) % 9}.bin"
        case.headers["Upload-Metadata"] = f"filename {base64.b64encode(name.encode()).decode()}"
    # An entry of the trash is there for each request to purge that of the document's example.
    if case.method == "DELETE" and (case.path_parameters or {}).get("trash_id") == TRASHED["id"]:
        trash = pathlib.Path("models/.store/trash")
        trash.joinpath(TRASHED["id"]).write_bytes(b"model")
        trash.joinpath(TRASHED["id"] + ".json").write_text(json.dumps(TRASHED))
    # The document's example of a job id is always that of a pull.
    if case.path_parameters and case.path_parameters.get("job_id") == EXAMPLE:
        case.path_parameters["job_id"] = next((ids for path, ids in IDS.items() if case.path.startswith(path)), EXAMPLE)

schemathesis.openapi.media_type("image/png", strategies.just(b"read this"))
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
"""
CALLERS: dict[str, tuple[Scope, ...] | None] = {
    "no keys configured": None,
    "a key with every scope": tuple(Scope),
    "a key with the scope read only": (Scope.READ,),
    "a key without the scope read": (Scope.ENGINE,),
    "no key where one is required": (),
}
STORED_JOB = JOB | {"created_by": {"actor": "nightly-models"}, "failure": None, "finished_at": "2100-01-01T00:00:00Z"}
"""The job of the document's examples, as its record has it."""
STORED_JOB.pop("error")
STORED_JOB.pop("warnings")
TRASHED = {
    "id": TRASH_ID, "name": "trashed.bin", "size_bytes": 5, "deleted_at": "2026-11-21T06:37:13Z",
    "expires_at": "2100-01-01T00:00:00Z", "sha256": None,
}  # fmt: skip
"""The record of an entry of the trash with the id of the document's examples."""
OTHER_JOBS = {
    "/ai/jobs": ("20261121T092012Z-0a1b23a56955", ItemJobKind.TEXTS, "AiOut"),
    "/ocr/jobs": ("20261121T092012Z-0a1b23a56956", ItemJobKind.IMAGES, "RecognitionsOut"),
}
"""By the path of the list, for jobs other than pulls: a stored job's id, its kind, and the schema of its results."""
ENGINE = "tests.support.engines:Reads"
EXPECTED = {"200", "401", "403", "404"}
"""The statuses that the test must observe. The others need a broken folder, a conflict, a foreign host or luck."""

NOT_CAUSED = {
    ("POST /pulls", "200"),
    ("POST /ocr", "404"),
    ("POST /ocr/jobs", "404"),
    ("POST /ai/table", "404"),
}
"""Answers that the test cannot cause: the 200 needs a pull that is still running, and the 404s an image's URL that is
allowed and leads to no file, as tests/api/ocr/test_images_by_url.py has it."""

Answers = set[tuple[str, str]]
"""Pairs of an operation, such as 'GET /models', and a status."""


@dataclass(frozen=True)
class Fuzz:
    """A run of schemathesis against a service."""

    exit_status: int
    output: str
    document: dict[str, Any]
    inlined: dict[str, Any]
    """The document with its references replaced."""
    observed: Answers

    @property
    def declared(self) -> Answers:
        return {(operation, status) for operation, status, _ in declared_by(self.inlined)}


@pytest.fixture(scope="module")
def fuzzes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fuzz]:
    """Run schemathesis once for each kind of caller."""
    return {name: fuzz(tmp_path_factory.mktemp("fuzz"), scopes) for name, scopes in CALLERS.items()}


def fuzz(folder: Path, scopes: tuple[Scope, ...] | None, paths: str | None = None, **changed: Any) -> Fuzz:
    """Run schemathesis against a service with some models and jobs, on the paths that an expression matches."""
    key = new_key()
    settings: dict[str, Any] = {"engine_class": ENGINE, "protected": DEFAULT_MODEL} | changed
    if scopes is not None:
        settings["api_keys_file"] = folder / "keys.toml"
        # The key of a caller that sends none needs a scope, too.
        folder.joinpath("keys.toml").write_text(entry_for("fuzz", list(scopes) or [Scope.READ], key))
    # This local hub is the only source of pulls. A pull from a site that cannot be reached would not end in time.
    with (
        running_hub() as hub,
        RunningService(folder, **settings, hub_endpoint=hub.url, resources_url=f"{hub.cdn_url}/ocr") as service,
    ):
        hub.add("org/repo", "model-Q4_K_M.gguf", b"x" * 1000)
        hub.put("/ocr/RESOURCES.json", b'{"actual": [{"file": "aspose-ocr-cyrillic-v1"}]}')
        hub.put("/ocr/aspose-ocr-cyrillic-v1.ocr", b"x" * 1000)
        put_jobs(service.models_dir / ".store/jobs")
        # The default model, which is protected so that no request deletes it.
        service.models_dir.joinpath(DEFAULT_MODEL).parent.mkdir()
        service.models_dir.joinpath(DEFAULT_MODEL).write_bytes(NO_TENSORS)
        for number in range(300):
            path = service.models_dir / f"org_repo{number % 7}" / f"model-{number}.gguf"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x" * number)
        service.models_dir.joinpath("en_ocr_v2.bin").write_bytes(b"x")
        service.wait_until_ready()
        # A caller without rights gets the same refusals, so fewer examples are enough.
        examples = 100 if scopes is None or len(scopes) == len(Scope) else 20
        examples = 10 if changed else examples
        run = run_schemathesis(service.url, folder, key if scopes else None, examples, paths)
        document = service.client.get("/docs/openapi.json").json()
    return Fuzz(run.returncode, run.stdout + run.stderr, document, inlined(document), observed_by(folder / "events"))


def put_jobs(folder: Path) -> None:
    """Write finished jobs of every kind to the folder."""
    write_record(folder, records.JOB.parse(json.dumps(STORED_JOB).encode()), is_lasting=False)
    for id_, kind, schema in OTHER_JOBS.values():
        (folder / f"{id_}.result").write_text(json.dumps(BY_SCHEMA[schema]))
        write_record(
            folder, records.JOB.parse(json.dumps(STORED_JOB | {"id": id_, "kind": kind}).encode()), is_lasting=False
        )


def run_schemathesis(
    url: str, folder: Path, key: str | None, examples: int, paths: str | None
) -> subprocess.CompletedProcess[str]:
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    ids = {path: id_ for path, (id_, _, _) in OTHER_JOBS.items()}
    metadata = METADATA_PARAMETER["schema"]["pattern"], METADATA_PARAMETER["example"]
    constants = f"EXAMPLE, IDS = {JOB['id']!r}, {ids!r}\nMETADATA, OF_MODEL = {metadata!r}\nTRASHED = {TRASHED!r}\n"
    folder.joinpath("hooks.py").write_text(constants + HOOKS)
    return subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            f"--config-file={config}",
            "run",
            f"{url}/docs/openapi.json",
            "--checks=all",
            # use_after_free_but_of_jobs replaces it.
            "--exclude-checks=use_after_free",
            "--continue-on-failure",
            f"--max-examples={examples}",
            *([f"--include-path-regex={paths}"] if paths else []),
            "--seed=1",
            "--generation-database=none",
            "--no-color",
            "--report=ndjson",
            f"--report-ndjson-path={folder / 'events'}",
            *(["--header", f"Authorization: Bearer {key}"] if key else []),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


def declared_by(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each operation with each of its statuses and the document's description of that answer."""
    for path, methods in document["paths"].items():
        for method in methods:
            for status, answer in statuses_of(document, path, method).items():
                yield f"{method.upper()} {path}", status, answer


def observed_by(events: Path) -> Answers:
    """Return the answers that schemathesis recorded."""
    return {
        (f"{case['method']} {case['path']}", str(answer["status_code"]))
        for recorder in recorders(events)
        for id_, interaction in recorder.get("interactions", {}).items()
        for case, answer in [(recorder["cases"][id_]["value"], interaction["response"])]
    }


def recorders(events: Path) -> Iterator[dict[str, Any]]:
    with events.open() as lines:
        for line in lines:
            if finished := json.loads(line).get("ScenarioFinished"):
                yield finished["recorder"]


@pytest.mark.parametrize("caller", CALLERS)
def test_schemathesis_finds_nothing(fuzzes: dict[str, Fuzz], caller: str) -> None:
    """Every answer has a status, type, headers and body of the document, and no request crashes the service."""
    assert fuzzes[caller].exit_status == 0, fuzzes[caller].output


@pytest.mark.parametrize("caller", CALLERS)
def test_every_answer_is_declared(fuzzes: dict[str, Fuzz], caller: str) -> None:
    """No operation answers with a status that the document does not give it."""
    operations = {operation for operation, _ in fuzzes[caller].declared}
    answers = {answer for answer in fuzzes[caller].observed if answer[0] in operations}
    assert answers - fuzzes[caller].declared == set()
    assert {operation for operation, _ in answers} == operations


def test_jobs_keep_to_the_document_with_a_database(tmp_path: Path, database: str) -> None:
    """The routes of jobs, and of uploads for jobs, answer as the document says if the queue is in a database."""
    run = fuzz(tmp_path, None, paths="^/(ai/jobs|ai/spell-check|ocr|pulls|uploads|engines)", jobs_url=database)

    assert run.exit_status == 0, run.output
    operations = {operation for operation, _ in run.declared}
    assert {answer for answer in run.observed if answer[0] in operations} - run.declared == set()


def test_what_is_declared_can_happen(fuzzes: dict[str, Fuzz]) -> None:
    """Some caller gets each declared status that needs no accident; the output lists the others."""
    declared = set().union(*(run.declared for run in fuzzes.values()))
    unobserved = declared.difference(*(run.observed for run in fuzzes.values()))
    print("Declared and not observed:", *sorted(map(" -> ".join, unobserved)), sep="\n  ")
    assert {answer for answer in unobserved if answer[1] in EXPECTED} <= NOT_CAUSED


@pytest.mark.parametrize("caller", ["no keys configured", "a key with every scope"])
def test_the_document_is_valid(fuzzes: dict[str, Fuzz], caller: str) -> None:
    """The document is valid OpenAPI 3.1."""
    schemathesis.openapi.from_dict(fuzzes[caller].document).validate()


def test_every_answer_has_an_example_that_fits(fuzzes: dict[str, Fuzz]) -> None:
    """Every declared answer with a JSON body has an example that its schema allows.

    Binary files need no example; 204, 304 and the answers to HEAD have no body.
    """
    document = fuzzes["no keys configured"].inlined
    without = set()
    for operation, status, answer in declared_by(document):
        assert ("content" in answer) != (status in {"204", "304"} or operation.startswith("HEAD"))
        for content in answer.get("content", {}).values():
            schema = content["schema"] | {"components": document["components"]}
            examples = [example["value"] for example in content.get("examples", {}).values()]
            name = content["schema"].get("$ref", "").rpartition("/")[2]
            examples += document["components"]["schemas"].get(name, content["schema"]).get("examples", [])
            examples += [content["example"]] if "example" in content else []
            for example in examples:
                jsonschema_rs.validate(schema, example)
            if not examples and schema.get("format") != "binary":
                without.add((operation, status))
    assert without == set()
