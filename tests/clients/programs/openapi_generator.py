"""Does every task with openapi-generator's client for Python. Arguments: the service's URL and a key."""

import json
import sys

from ocr_client import ApiClient, Configuration, ModelsApi, RecognitionApi
from ocr_client.exceptions import NotFoundException

NAME = "python/openapi-generator.bin"


def models(api: ModelsApi) -> None:
    """Upload, list, get and delete a model, and read the problem of a model that does not exist."""
    uploaded = api.upload_model(NAME, b"weights")
    assert uploaded.size_bytes == len(b"weights")
    print("upload a model")

    assert NAME in [model.name for model in api.list_models().models]
    print("list models")

    assert api.get_model(NAME).etag == uploaded.etag
    print("get a model")

    assert api.delete_model(NAME).name == NAME
    print("delete a model")

    try:
        api.get_model(NAME)
    except NotFoundException as exc:
        problem = json.loads(exc.body or "{}")
    assert problem["type"] == "urn:ocr-model-service:problem:model-not-found"
    print("read a problem")


def recognition(api: RecognitionApi) -> None:
    """Recognise an image at once, then several files in a job."""
    assert api.recognise_text(("page.png", b"read Invoice 4711")).text == "Invoice 4711"
    print("recognise an image")

    job = api.create_recognition_job([("1.png", b"read page 1"), ("2.png", b"read page 2")])
    print("send several files as a job")

    while job.finished_at is None:
        job = api.get_recognition_job(job.id, wait=30)
    results = api.get_recognition_job_results(job.id)
    assert [each.recognition and each.recognition.text for each in results.results] == ["page 1", "page 2"]
    print("follow a job")


with ApiClient(Configuration(host=sys.argv[1], access_token=sys.argv[2])) as opened:
    models(ModelsApi(opened))
    recognition(RecognitionApi(opened))
