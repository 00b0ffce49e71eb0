"""Pages and cursors of `GET /models`, while models are added and deleted between pages."""

import base64
import json
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.api.models.list_query import Cursor, ListQuery, Sort
from app.api.models.list_renderer import ListRenderer
from app.api.models.model_view import ModelView, Sources
from app.api.models.schemas import ModelListOut
from app.engine.contract.messages import EngineFacts
from app.store.inventory import Inventory, Model, ScanWarning
from app.store.locks.model_locks import ModelLocks
from app.store.policy import Policy
from app.store.protections import ManualProtection
from tests.support.clients.answers import problem_of
from tests.support.service import RunningService
from tests.support.waiting import eventually

VIEW = ModelView(Path("/models"), Policy(), Sources({}, frozenset(), None))
SORTS = ["name", "-name", "size_bytes", "-size_bytes", "modified_at", "-modified_at"]

# Few sizes and times, so that many models have equal keys; names that need escaping.
some_models = st.dictionaries(
    st.text('abé"\U0001f600', min_size=1, max_size=3), st.tuples(st.integers(0, 3), st.integers(-1, 2)), max_size=30
).map(lambda made: {name: Model(name, size, modified, 0, 0) for name, (size, modified) in made.items()})


def inventory_of(models: dict[str, Model], *warnings: ScanWarning) -> Inventory:
    return Inventory(dict(sorted(models.items())), warnings, (0, 0))


def page_of(renderer: ListRenderer, **params: Any) -> dict[str, Any]:
    return dict(json.loads(renderer.render(ListQuery(**params))))


@given(
    changing=st.lists(some_models, min_size=1, max_size=8),
    staying=some_models,
    limits=st.lists(st.integers(1, 7), min_size=1),
    sort=st.sampled_from(SORTS),
)
def test_pages_neither_repeat_models_nor_miss_any_that_stays(
    changing: list[dict[str, Model]], staying: dict[str, Model], limits: list[int], sort: str
) -> None:
    """If models come and go between pages, no page repeats a model or misses one that was there throughout."""
    renderer, cursor, seen, number = None, None, [], 0
    while number == 0 or cursor:
        present = {name: model for name, model in changing[number % len(changing)].items() if name not in staying}
        renderer = ListRenderer(inventory_of(present | staying), VIEW, renderer)
        page = page_of(renderer, sort=sort, limit=limits[number % len(limits)], cursor=cursor)
        assert page["count"] == len(present | staying)
        assert page["next_cursor"] != cursor or not cursor, "the cursors form a circle"
        seen += [(model["name"], model["etag"]) for model in page["models"]]
        cursor, number = page["next_cursor"], number + 1

    # A model that is added again with another size or time counts as another model.
    assert len(set(seen)) == len(seen)
    assert {(model.name, model.etag) for model in staying.values()} <= set(seen)
    if sort.endswith("name"):
        assert [name for name, _ in seen] == sorted({name for name, _ in seen}, reverse=sort.startswith("-"))


@given(models=some_models, limit=st.integers(1, 7), sort=st.sampled_from(SORTS), status=st.sampled_from(["old", None]))
def test_all_pages_together_are_the_unpaged_list(
    models: dict[str, Model], limit: int, sort: str, status: str | None
) -> None:
    """If nothing changes, the pages together are the unpaged list in its order, and all but the last page are full."""
    models |= {f"old_{name}": model._replace(name=f"old_{name}") for name, model in models.items()}
    renderer = ListRenderer(inventory_of(models), VIEW)
    whole = page_of(renderer, sort=sort, status=status)

    pages = [page_of(renderer, sort=sort, status=status, limit=limit)]
    while cursor := pages[-1]["next_cursor"]:
        assert len(pages) <= len(models), "the cursors form a circle"
        pages.append(page_of(renderer, sort=sort, status=status, limit=limit, cursor=cursor))

    assert [model for page in pages for model in page["models"]] == whole["models"]
    assert all(len(page["models"]) == limit for page in pages[:-1])
    assert {(page["count"], page["total_size_bytes"]) for page in pages} == {
        (whole["count"], whole["total_size_bytes"])
    }


@given(text=st.text(max_size=100) | st.binary(max_size=100).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_text_that_is_no_cursor_raises_a_validation_error(text: str) -> None:
    """Any text that is no cursor raises ValidationError and no other exception."""
    with pytest.raises(ValidationError, match="not a cursor of this list"):
        ListQuery(cursor=text)


def test_only_changed_models_are_rendered_again() -> None:
    """A new renderer reuses the JSON of unchanged models and renders changed ones again."""
    models = {name: Model(name, 1, 0, 0, 0) for name in ("a", "b")}
    before = ListRenderer(inventory_of(models), VIEW)
    before.render(ListQuery())
    a, b = before.rendered["a"], before.rendered["b"]

    after = ListRenderer(inventory_of(models | {"b": Model("b", 2, 0, 0, 0)}), VIEW, before)

    assert [model["size_bytes"] for model in page_of(after)["models"]] == [1, 2]
    assert after.rendered["a"] is a
    assert after.rendered["b"] is not b


@given(models=some_models, limit=st.none() | st.integers(1, 7), sort=st.sampled_from(get_args(Sort)))
def test_the_rendered_list_equals_the_json_of_pydantic(models: dict[str, Model], limit: int | None, sort: Sort) -> None:
    """The JSON that the renderer joins by hand has exactly the bytes that pydantic writes for `ModelListOut`."""
    warning = ScanWarning('a "link"', "a symbolic link")
    rendered = ListRenderer(inventory_of(models, warning), VIEW).render(ListQuery(sort=sort, limit=limit))

    assert ModelListOut.model_validate_json(rendered).model_dump_json().encode() == rendered


def facts(*recognised: str, known_models: dict[str, Model]) -> EngineFacts:
    return EngineFacts(
        asked_at=datetime.now(UTC),
        vendor_package="aspose-ocr-python-net",
        vendor_version="26.10.0",
        is_licensed=False,
        local_path="/models",
        list_local=(),
        resources_list_local=(),
        recognised=frozenset(recognised),
        is_initialized=False,
        capabilities=(),
        known_models=known_models,
    )


def test_changing_facts_differ_wherever_the_description_differs(tmp_path: Path) -> None:
    """If two views describe a model differently, its changing facts differ, so the model is rendered again."""
    (tmp_path / "models").touch()
    locks = ModelLocks(tmp_path / "models")
    with locks.lease("a.bin"):
        positions = locks.leased_positions()
    model = Model("a.bin", 1, 0, 0, 0)
    protections = {"a.bin": ManualProtection("a reason", "a caller", datetime.now(UTC))}
    engine_facts = (None, facts(known_models={}), facts(known_models={"a.bin": model}), facts("a.bin", known_models={}))
    views = [
        ModelView(Path("/models"), Policy(), Sources(*sources))
        for sources in product(({}, protections), (frozenset[int](), positions), engine_facts)
    ]

    described = {view.describe(model).model_dump_json() for view in views}
    assert len(described) == 2 * 2 * 3
    assert len({view.changing_facts(model) for view in views}) == len(described)


def test_the_json_of_deleted_models_is_dropped() -> None:
    """The number of rendered models that are kept is bounded, however many models are added and deleted."""
    renderer = None
    for number in range(100):
        models = {f"{number}-{n}": Model(f"{number}-{n}", 1, 0, 0, 0) for n in range(100)}
        renderer = ListRenderer(inventory_of(models), VIEW, renderer)
        renderer.render(ListQuery())
        assert len(renderer.rendered) <= 600


def test_only_the_first_page_has_the_warnings() -> None:
    """The first page has the warnings, with any filter; the pages after it have none."""
    models = {name: Model(name, 1, 0, 0, 0) for name in ("a", "b")}
    renderer = ListRenderer(inventory_of(models, ScanWarning("link", "a symbolic link")), VIEW)

    first = page_of(renderer, limit=1)

    assert first["warnings"] == [{"path": "link", "reason": "a symbolic link"}]
    assert page_of(renderer, limit=1, cursor=first["next_cursor"])["warnings"] == []
    assert page_of(renderer, status="old")["warnings"] == first["warnings"]


@pytest.fixture
def filled(service: RunningService, models: Path) -> RunningService:
    """A service with ten listed models of different sizes."""

    for number in range(10):
        (models / f"m{number}.bin").write_bytes(b"x" * number)
    eventually(lambda: service.client.get("/models").json()["count"] == 10)
    return service


def walked(service: RunningService, **params: Any) -> list[str]:
    names, cursor = [], None
    while True:
        asked = params | ({"cursor": cursor} if cursor else {})
        page = service.client.get("/models", params=asked).raise_for_status().json()
        names += [model["name"] for model in page["models"]]
        if not (cursor := page["next_cursor"]):
            return names


@pytest.mark.parametrize("limit", [1, 3, 5, 10, 11, 1000])
def test_following_next_cursor_yields_every_model_once(filled: RunningService, limit: int) -> None:
    """A client that follows `next_cursor` over HTTP gets each model once, in order."""
    assert walked(filled, limit=limit, sort="-size_bytes") == [f"m{number}.bin" for number in range(9, -1, -1)]
    assert walked(filled, limit=limit, min_size=5) == [f"m{number}.bin" for number in range(5, 10)]


def test_a_cursor_works_after_its_model_was_deleted(filled: RunningService, models: Path) -> None:
    """The next page begins after the name in the cursor, even if that model was deleted meanwhile."""
    first = filled.client.get("/models?limit=4").json()
    assert (len(first["models"]), first["count"], first["total_size_bytes"]) == (4, 10, 45)

    (models / "m0.bin").unlink()
    (models / "m3.bin").unlink()
    (models / "m33.bin").touch()
    eventually(lambda: filled.client.get("/models").json()["count"] == 9)
    second = filled.client.get("/models", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [model["name"] for model in second["models"]] == ["m33.bin", "m4.bin", "m5.bin"]
    assert second["count"] == 9


def test_a_cursor_with_other_filters_or_order_answers_422(filled: RunningService) -> None:
    """A cursor sent with other filters or another sort answers 422; `limit` may differ."""
    cursor = filled.client.get("/models?limit=4&min_size=1").json()["next_cursor"]

    other_terms: list[dict[str, Any]] = [
        {},
        {"min_size": 2},
        {"min_size": 1, "sort": "-name"},
        {"min_size": 1, "status": "current"},
    ]
    for others in other_terms:
        refused = filled.client.get("/models", params={"limit": 4, "cursor": cursor} | others)
        assert problem_of(refused) == (422, "invalid-request")
        assert "other filters or another sort" in refused.json()["detail"]
        assert refused.json()["errors"][0]["where"] == ["query", "cursor"]
    rest = filled.client.get("/models", params={"min_size": 1, "sort": "name", "cursor": cursor}).json()
    assert len(rest["models"]) == 5


def forgeries() -> dict[str, str]:
    honest = ListQuery().cursor_at((0, "m3.bin"))
    fields = {"key": 0, "name": "m3.bin", "digest": Cursor.parse(honest).digest}

    def forged(**changed: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(fields | changed).encode()).decode().rstrip("=")

    return {
        "empty": "",
        "cut off": honest[:-3],
        "no base64": "***",
        "no ASCII": "é",
        "text for a number": forged(key="0"),
        "a number too large": honest[:8] + "9" * 4000,
        "a bool for a number": forged(key=True),
        "a lone surrogate": forged(name="\ud800"),
        "more than there is": forged(more=1),
        "nested without end": base64.urlsafe_b64encode(b"[" * 3000).decode(),
        "longer than any": "A" * 5000,
    }


@pytest.mark.parametrize("text", forgeries().values(), ids=forgeries())
def test_a_forged_cursor_answers_422(service: RunningService, text: str) -> None:
    """A forged cursor answers 422 about the parameter `cursor`, and never a crash."""
    refused = service.client.get("/models", params={"cursor": text})

    assert (refused.status_code, refused.json()["errors"][0]["where"]) == (422, ["query", "cursor"])


@pytest.mark.parametrize("key", [0, -(10**400), 10**400])
def test_a_cursor_at_a_model_that_never_existed_is_valid(filled: RunningService, key: int) -> None:
    """A cursor is a position between models, so its key and name need not be those of a model."""
    cursor = ListQuery(sort="size_bytes").cursor_at((key, "never"))

    answer = filled.client.get("/models", params={"cursor": cursor, "sort": "size_bytes"}).raise_for_status().json()

    assert len(answer["models"]) == {0: 9 + 0, -(10**400): 10, 10**400: 0}[key]
