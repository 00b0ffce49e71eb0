"""`OCR_CORS_ORIGINS`: what web pages of other origins may do, over HTTP.

tests/e2e/browser/test_cors.py has a real browser.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.api.http.keys import Scope, entry_for, new_key
from app.api.http.middleware.cross_origin import EXPOSED
from app.main import create_app
from app.settings import Settings, SettingsError, load_settings
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

PAGE = "https://app.example"
OTHER = "https://evil.example"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "PATCH"}
ALWAYS_READABLE = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified"}
"""The headers of answers that scripts may read without being allowed to, by the Fetch standard."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service without keys that pages of two origins may use. One is not in the spelling of browsers."""
    origins = f"{PAGE},HTTP://Localhost:80"
    with RunningService(tmp_path_factory.mktemp("cors"), engine_class=ECHO, cors_origins=origins) as running:
        yield running


def allowed_origin(answer: httpx.Response) -> str | None:
    found: str | None = answer.headers.get("access-control-allow-origin")
    return found


@pytest.mark.parametrize("origin", [PAGE, "http://localhost"])
def test_pages_of_an_allowed_origin_can_read_answers(service: RunningService, origin: str) -> None:
    """The answer names the origin and the headers that the page may read, and caches learn that it varies."""
    answer = service.client.get("/models", headers={"origin": origin})

    assert (answer.status_code, allowed_origin(answer), answer.headers["vary"]) == (200, origin, "origin")
    assert {"etag", "x-request-id"} <= set(answer.headers["access-control-expose-headers"].split(", "))
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"origin": OTHER}, {"origin": "null"}, {"origin": f"{PAGE}.evil.example"}])
def test_other_origins_can_read_nothing(service: RunningService, headers: dict[str, str]) -> None:
    """Without an allowed origin there is no permission, but `Vary`, so that no cache mixes up the two answers."""
    answer = service.client.get("/models", headers=headers)

    assert (answer.status_code, allowed_origin(answer), answer.headers["vary"]) == (200, None, "origin")


def test_a_preflight_of_an_allowed_origin_is_answered(service: RunningService) -> None:
    """Every method and header is permitted, and the answer has a request id and a line in the log."""
    headers = PREFLIGHT | {"access-control-request-headers": "authorization,upload-offset", "x-request-id": "pre-1"}
    answer = service.client.options("/uploads/x", headers=headers)

    assert (answer.status_code, allowed_origin(answer), answer.content) == (204, PAGE, b"")
    assert {"PUT", "PATCH", "DELETE"} <= set(answer.headers["access-control-allow-methods"].split(", "))
    assert answer.headers["access-control-allow-headers"] == "authorization,upload-offset"
    assert int(answer.headers["access-control-max-age"]) > 0
    assert answer.headers["x-request-id"] == "pre-1"
    eventually(lambda: '"id": "pre-1"' in service.log, within=60)


def test_a_preflight_to_a_private_network_is_answered(service: RunningService) -> None:
    """A browser asks for this permission before a public page may reach a local service."""
    headers = PREFLIGHT | {"access-control-request-private-network": "true"}

    assert service.client.options("/models", headers=headers).headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-private-network" not in service.client.options("/models", headers=PREFLIGHT).headers


def test_a_preflight_of_another_origin_is_refused(service: RunningService) -> None:
    """The refusal names the setting for those who look, and permits the page nothing."""
    answer = service.client.options("/models", headers=PREFLIGHT | {"origin": OTHER})

    assert problem_of(answer) == (403, "cross-origin")
    assert "OCR_CORS_ORIGINS" in answer.json()["detail"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_tus_capabilities_are_no_preflight(service: RunningService) -> None:
    """A page that asks for tus's capabilities gets them, with the permission to read their headers."""
    answer = service.client.options("/uploads", headers={"origin": PAGE})

    assert (answer.headers["tus-version"], answer.headers["tus-resumable"]) == ("1.0.0", "1.0.0")
    assert allowed_origin(answer) == PAGE


@pytest.mark.parametrize("site", ["cross-site", "same-site", None])
def test_only_pages_of_an_allowed_origin_can_change_anything(service: RunningService, site: str | None) -> None:
    """A change requested by an allowed page is made; a change requested by another page is refused as without CORS."""
    headers = {"sec-fetch-site": site} if site else {}
    refused = service.client.put("/models/a.bin", content=b"x", headers=headers | {"origin": OTHER})
    made = service.client.put("/models/a.bin", content=b"x", headers=headers | {"origin": PAGE})
    deleted = service.client.delete("/models/a.bin", headers=headers | {"origin": PAGE})

    assert problem_of(refused) == (403, "cross-origin")
    assert (made.status_code, deleted.status_code) == (201, 200)
    assert allowed_origin(made) == PAGE


def test_pages_can_read_every_refusal(service: RunningService) -> None:
    """Errors have the headers too, whether a route, the router or the limits before them refuse a request."""
    page = {"origin": PAGE}
    refusals = {
        "model-not-found": service.client.get("/models/none.bin", headers=page),
        "not-found": service.client.get("/nothing", headers=page),
        "method-not-allowed": service.client.patch("/models", headers=page),
        "invalid-request": service.client.get("/models?limit=x", headers=page),
        "body-too-large": service.client.post("/prune", content=b" " * (2 << 20), headers=page),
        "wrong-host": service.client.get("/models", headers=page | {"host": "evil.example"}),
        "invalid-http": service.client.get("/models/%ff", headers=page),
    }
    for slug, answer in refusals.items():
        assert problem_of(answer)[1] == slug
        assert allowed_origin(answer) == PAGE, slug


@pytest.mark.anyio
async def test_pages_can_read_the_answer_to_a_crash() -> None:
    """A crash, here of an application whose parts were never started, is answered with the headers too."""
    app = create_app(Settings(cors_origins=(PAGE,)))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://127.0.0.1"
    ) as client:
        answer = await client.get("/models", headers={"origin": PAGE})

    assert problem_of(answer) == (500, "internal-error")
    assert allowed_origin(answer) == PAGE


def test_every_origin_can_be_allowed_if_there_are_keys(serve: Serve, tmp_path: Path) -> None:
    """With `*` every page may ask without a key for permission, and needs a key for all else."""
    key = new_key()
    (tmp_path / "keys.toml").write_text(entry_for("page", [Scope.READ, Scope.WRITE], key))
    client = serve(engine_class=ECHO, api_keys_file=tmp_path / "keys.toml", cors_origins="*").client
    with_key = {"origin": OTHER, "sec-fetch-site": "cross-site", "authorization": f"Bearer {key}"}

    assert client.options("/models", headers=PREFLIGHT | {"origin": OTHER}).status_code == 204
    refused = client.get("/models", headers={"origin": OTHER})
    assert (problem_of(refused), allowed_origin(refused)) == ((401, "unauthenticated"), "*")
    assert client.get("/models", headers=with_key).status_code == 200
    assert client.put("/models/a.bin", content=b"x", headers=with_key).status_code == 201


def test_no_origin_is_allowed_by_default(shared_service: RunningService) -> None:
    """Without the setting no answer has headers of CORS, and a preflight is a method that the path does not have."""
    answer = shared_service.client.get("/models", headers={"origin": PAGE})

    assert not {"access-control-allow-origin", "vary"} & set(answer.headers)
    assert problem_of(shared_service.client.options("/models", headers=PREFLIGHT)) == (405, "method-not-allowed")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("*", "without OCR_API_KEYS_FILE"),
        ("https://app.example/", "no page has the origin 'https://app.example/'"),
        ("app.example", "no page has the origin"),
        ("null", "no page has the origin"),
        ("https://*.example", "no page has the origin"),
    ],
)
def test_values_that_no_page_has_are_refused(monkeypatch: pytest.MonkeyPatch, value: str, reason: str) -> None:
    """A value that could match no page, or that would let every page change models, ends the start."""
    monkeypatch.setenv("OCR_CORS_ORIGINS", value)

    with pytest.raises(SettingsError, match="OCR_CORS_ORIGINS") as raised:
        load_settings()

    assert reason in str(raised.value)


def test_pages_can_read_every_documented_header() -> None:
    """Each header of an answer in the OpenAPI document is one that a page may read."""
    document = create_app(Settings()).openapi()
    documented = {
        name.lower()
        for methods in document["paths"].values()
        for operation in methods.values()
        for answer in operation["responses"].values()
        for name in answer.get("headers", {})
    }

    assert documented - ALWAYS_READABLE <= set(EXPOSED.split(", "))
