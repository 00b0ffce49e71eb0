"""Does every task with the client that openapi-python-client generates. Arguments: the service's URL and a key."""

import sys
from io import BytesIO

from ocr_client import AuthenticatedClient
from ocr_client.api.models import delete_model, get_model, list_models, upload_model
from ocr_client.api.recognition import (
    create_recognition_job,
    get_recognition_job,
    get_recognition_job_results,
    recognise_text,
)
from ocr_client.models import (
    CreateRecognitionJobFilesBody,
    JobOut,
    ModelDetailOut,
    ModelListOut,
    Problem,
    ReceiptOut,
    RecogniseTextFilesBody,
    RecognitionOut,
    RecognitionsOut,
)
from ocr_client.types import File

NAME = "python/openapi-python-client.bin"


def models(client: AuthenticatedClient) -> None:
    """Upload, list, get and delete a model, and read the problem of a model that does not exist."""
    uploaded = upload_model.sync(NAME, client=client, body=File(BytesIO(b"weights")))
    assert isinstance(uploaded, ModelDetailOut)
    assert uploaded.size_bytes == len(b"weights")
    print("upload a model")

    listed = list_models.sync(client=client)
    assert isinstance(listed, ModelListOut)
    assert NAME in [model.name for model in listed.models]
    print("list models")

    found = get_model.sync(NAME, client=client)
    assert isinstance(found, ModelDetailOut)
    assert found.etag == uploaded.etag
    print("get a model")

    receipt = delete_model.sync(NAME, client=client)
    assert isinstance(receipt, ReceiptOut)
    assert receipt.name == NAME
    print("delete a model")

    problem = get_model.sync(NAME, client=client)
    assert isinstance(problem, Problem)
    assert (problem.status, problem.type_) == (404, "urn:ocr-model-service:problem:model-not-found")
    print("read a problem")


def recognition(client: AuthenticatedClient) -> None:
    """Recognise an image at once, then several files in a job."""
    page = File(BytesIO(b"read Invoice 4711"), "page.png", "image/png")
    recognised = recognise_text.sync(client=client, body=RecogniseTextFilesBody(page))
    assert isinstance(recognised, RecognitionOut)
    assert recognised.text == "Invoice 4711"
    print("recognise an image")

    files = [File(BytesIO(f"read page {number}".encode()), f"{number}.png", "image/png") for number in (1, 2)]
    job = create_recognition_job.sync(client=client, body=CreateRecognitionJobFilesBody(files))
    assert isinstance(job, JobOut)
    print("send several files as a job")

    while job.finished_at is None:
        job = get_recognition_job.sync(job.id, client=client, wait=30)
        assert isinstance(job, JobOut)
    results = get_recognition_job_results.sync(job.id, client=client)
    assert isinstance(results, RecognitionsOut)
    assert [each.recognition and each.recognition.text for each in results.results] == ["page 1", "page 2"]
    print("follow a job")


with AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2]) as opened:
    models(opened)
    recognition(opened)
