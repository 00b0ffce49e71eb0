"""`GET /resources` over HTTP: a site, and a folder."""

import json
from typing import Any

from tests.conftest import Serve
from tests.support.hub import running_hub
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually


def resources(service: RunningService) -> dict[str, dict[str, Any]]:
    answer = service.client.get("/resources").raise_for_status().json()
    assert answer["count"] == len(answer["resources"])
    return {each["name"]: each for each in answer["resources"]}


def test_what_the_site_offers_and_what_is_here(serve: Serve) -> None:
    """The list joins the offers of the site, the OCR models in the folder itself and those that the engine needs."""
    with running_hub() as site:
        entries = [{"file": "aspose-ocr-arabic-v1", "size_bytes": 9}, {"file": "aspose-ocr-korean-v1"}]
        site.put("/ocr/RESOURCES.json", json.dumps({"actual": entries}).encode())
        site.put("/ocr/aspose-ocr-korean-v1.ocr", b"12345")
        service = serve(engine_class=ECHO, resources_url=f"{site.cdn_url}/ocr")
        service.wait_until_ready()
        (service.models_dir / "sub").mkdir()
        for name in ("aspose-ocr-korean-v1.ocr", "aspose-ocr-own-v1.ocr", "sub/aspose-ocr-arabic-v1.ocr", "a.bin"):
            (service.models_dir / name).write_bytes(b"123")

        def is_settled() -> bool:
            found = resources(service)
            is_known = found.get("aspose-ocr-own-v1", {}).get("recognised") is True
            return is_known and found["aspose-ocr-korean-v1"]["offered_size_bytes"] == 5

        eventually(is_settled, within=30)
        answer = service.client.get("/resources").json()
        found = resources(service)

    assert [name for name, each in found.items() if "rus" in each["needed_for"]["languages"]] == [
        "aspose-ocr-cyrillic-v1"
    ]
    assert not found["aspose-ocr-cyrillic-v1"]["offered"]
    known = {"aspose-ocr-arabic-v1", "aspose-ocr-korean-v1", "aspose-ocr-own-v1"}
    assert [name for name, each in found.items() if each["offered"] or each["here"]] == sorted(known)
    shown = {
        name: (found[name]["offered"], found[name]["offered_size_bytes"], found[name]["size_bytes"]) for name in known
    }
    assert shown == {
        "aspose-ocr-arabic-v1": (True, 9, None),
        "aspose-ocr-korean-v1": (True, 5, 3),
        "aspose-ocr-own-v1": (False, None, 3),
    }
    assert {name for name in known if found[name]["here"]} == {"aspose-ocr-korean-v1", "aspose-ocr-own-v1"}
    assert (answer["site_url"], answer["remote_error"]) == (f"{site.cdn_url}/ocr", None)
    assert answer["asked_at"]


def test_without_the_site_the_answer_has_what_is_here(serve: Serve) -> None:
    """If the site cannot be reached, or is turned off, `remote_error` says so, and what is here is listed."""
    service = serve(engine_class=ECHO, resources_url="http://127.0.0.1:1/ocr")
    (service.models_dir / "aspose-ocr-korean-v1.ocr").write_bytes(b"123")
    eventually(lambda: resources(service)["aspose-ocr-korean-v1"]["here"], within=30)
    away = service.client.get("/resources").json()
    off = serve(service.folder, engine_class=ECHO, resources_url="off").client.get("/resources").json()

    assert "http://127.0.0.1:1/ocr/RESOURCES.json" in away["remote_error"]
    assert (away["resources"][0]["offered"], away["asked_at"]) == (None, None)
    assert "OCR_RESOURCES_URL is 'off'" in off["remote_error"]
    assert off["site_url"] is None
