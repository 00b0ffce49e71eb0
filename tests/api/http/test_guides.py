"""The guides as pages at `/guides`: every file of docs/, under any path prefix."""

import re
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import lxml.html
import pytest

from app.api.docs import guide_pages
from app.api.docs.guide_pages import BY_TAG, OF_ERRORS, figures, guides
from app.main import TAGS, create_app
from app.settings import Settings
from tests.conftest import Serve
from tests.support.service import ECHO, ROOT, RunningService

DOCS = ROOT / "docs"
NAMES = sorted(str(path.relative_to(DOCS).with_suffix("")) for path in DOCS.glob("**/*.md"))


def page_of(service: RunningService, path: str) -> lxml.html.HtmlElement:
    """Return a page of the service."""
    answer = service.client.get(path)
    assert answer.status_code == 200, path
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return lxml.html.fromstring(answer.text)


def test_every_page_of_the_docs_is_a_guide(service: RunningService) -> None:
    """The list has a link to each file of docs/, and its page has the file's headings."""
    assert sorted(guides()) == NAMES
    links = [link for _, _, link, _ in page_of(service, "/guides").iterlinks() if link.startswith("guides/")]
    assert sorted(links) == [f"guides/{name}" for name in NAMES]
    for name in NAMES:
        headings = re.findall(r"^# (.+)$", DOCS.joinpath(f"{name}.md").read_text(), re.MULTILINE)
        assert page_of(service, f"/guides/{name}").findtext(".//h1") == headings[0].replace("`", "")


def test_each_guide_has_its_own_title(service: RunningService) -> None:
    """The list shows no title twice, so that a reader can tell the guides apart."""
    titles = [str(item.text_content()) for item in page_of(service, "/guides").findall(".//li")]
    assert (len(titles), len(set(titles))) == (len(NAMES), len(NAMES)), titles


def test_every_link_of_a_guide_leads_somewhere(service: RunningService) -> None:
    """Each link leads to a page of the service and, if it has an anchor, to an element there; no file is loaded from
    another host."""
    pages = {f"/guides/{name}": page_of(service, f"/guides/{name}") for name in NAMES}
    known = {*pages, "/", "/docs", "/redoc", "/guides", "/openapi.json", "/docs/icon.svg", "/docs/common.css"}
    for path, page in pages.items():
        for element, attribute, link, _ in page.iterlinks():
            target = urlsplit(urljoin(path, link))
            if target.netloc:
                assert (element.tag, attribute) == ("a", "href"), link
                continue
            if element.tag == "img":
                drawing = service.client.get(target.path)
                assert (drawing.status_code, drawing.headers["content-type"]) == (200, "image/svg+xml"), (path, link)
                assert "img-src 'self'" in service.client.get(path).headers["content-security-policy"]
                continue
            assert target.path in known, (path, link)
            if target.fragment:
                assert pages[target.path].get_element_by_id(target.fragment) is not None


def test_guides_work_under_a_prefix(serve: Serve) -> None:
    """With a path prefix, the list and the guides are below it, and no link of a page leaves it."""
    service = serve(engine_class=ECHO, root_path="/models-api")
    assert service.client.get("/guides/", follow_redirects=False).headers["location"] == "/models-api/guides"
    for path in ("/models-api/guides", "/models-api/guides/api/errors"):
        for _, _, link, _ in page_of(service, path).iterlinks():
            target = urlsplit(urljoin(path, link))
            assert target.netloc or target.path.startswith("/models-api/"), link


@pytest.mark.parametrize(
    "path",
    [
        "/guides/none", "/guides/api", "/guides/api.md", "/guides/../settings", "/guides/%2e%2e/settings",
        "/guides/api/..%2fapi", "/guides//api", "/guides/api/", "/guides/%00", "/guides/..%2f..%2f..%2fREADME",
        "/guides/sample-page.png", "/guides/%F0%9F%92%A9", "/guides/" + "a" * 5000, "/guides/con", "/guides/API",
    ],
)  # fmt: skip
def test_no_other_file_is_a_guide(service: RunningService, path: str) -> None:
    """A path that is no guide's name is 404, whatever it holds; `api` is the guide of that name, not the folder."""
    answer = service.client.get(path)
    assert answer.status_code == (200 if path == "/guides/api" else 404)
    if answer.status_code == 404:
        assert answer.headers["content-type"] == "application/problem+json"


def test_the_document_leads_to_the_guides() -> None:
    """Each tag of the document and the schema of problems have the address of a guide, below the path prefix."""
    document = create_app(Settings(root_path="/models-api")).openapi()
    assert BY_TAG.keys() == TAGS.keys()
    assert {*BY_TAG.values(), OF_ERRORS} <= guides().keys()
    urls = {re.findall(r"\[Guide\]\((.+)\)", tag["description"])[0] for tag in document["tags"]}
    urls.add(document["components"]["schemas"]["Problem"]["externalDocs"]["url"])
    assert urls == {f"/models-api/guides/{name}" for name in {*BY_TAG.values(), OF_ERRORS}}


def test_a_copy_of_the_code_without_the_docs_has_no_guides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the link leads nowhere, there are no guides, and that is no error."""
    monkeypatch.setattr(guide_pages, "FOLDER", "none")
    assert guides.__wrapped__() == {}


def test_the_guides_are_in_the_package() -> None:
    """The package's guides are the folder docs, and pyproject.toml names its folders for an installation."""
    folder = ROOT / "app/api/docs/guides"
    assert folder.is_symlink()
    assert folder.resolve() == DOCS
    parts = {str(Path("guides", name).parent / "*.md") for name in NAMES}
    parts |= {str(Path("guides", name).parent / "*.svg") for name in figures()}
    assert {part for part in parts if f'"{part}"' not in (ROOT / "pyproject.toml").read_text()} == set()
