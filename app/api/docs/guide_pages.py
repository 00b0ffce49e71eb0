"""The guides as pages: the files of the folder docs, rendered from Markdown, at `/guides/<path without .md>`.

They work as the other pages do: under any path prefix, without JavaScript and without the internet.
"""

import asyncio
import html
import importlib.resources
import posixpath
import re
from collections.abc import Iterator
from functools import cache, partial
from importlib.resources.abc import Traversable
from itertools import pairwise
from string import Template

from fastapi import APIRouter, HTTPException, Request
from markdown_it import MarkdownIt
from markdown_it.token import Token
from starlette.responses import RedirectResponse, Response

from app.api.docs.compressed import CompressedBody
from app.api.docs.pages import HTML, OWN, PAGE_HEADERS, answer_built

FOLDER = "guides"
"""The folder of this package that has the guides: a link to the folder docs."""
BY_TAG = {
    "models": "api/models",
    "recognition": "api/ocr",
    "engine": "engine",
    "ai": "api/texts",
    "pulls": "api/pulls",
    "uploads": "api/uploads",
    "trash": "api/deletion",
    "upkeep": "api/deletion",
    "health": "operations",
    "service": "api",
}
"""The guide of each tag of the OpenAPI document."""
OF_ERRORS = "api/errors"
LINK = re.compile(r"(?P<path>[^#:?]+)\.md(?P<anchor>#.*)?")
"""A link from one guide to another, as the Markdown has it."""

router = APIRouter(include_in_schema=False)


def path_of(guide: str) -> str:
    """Return the path of a guide's page below the path prefix."""
    return f"/guides/{guide}"


@router.get("/guides/")
async def redirect_to_guides(request: Request) -> Response:
    """Redirect to the list of the guides, whose relative URLs need its path without a slash at the end."""
    return RedirectResponse(f"{str(request.scope.get('root_path', '')).rstrip('/')}/guides", 307)


@router.get("/guides")
async def get_guides(request: Request) -> Response:
    """Return the list of the guides."""
    return await answer_built(request, "guides", _render_list)


@router.get("/guides/{name:path}")
async def get_guide(request: Request, name: str) -> Response:
    """Return a guide, or a figure of one."""
    if name in await asyncio.to_thread(guides):
        return await answer_built(request, f"guides/{name}", partial(_render, name))
    if name in await asyncio.to_thread(figures):
        return await answer_built(request, f"guides/{name}", partial(_figure, name))
    raise HTTPException(404)


@cache
def guides() -> dict[str, Traversable]:
    """Return the files of the guides by their names, such as `api/errors`; none where app was copied without docs."""
    return {name.removesuffix(".md"): file for name, file in _files() if name.endswith(".md")}


@cache
def figures() -> dict[str, Traversable]:
    """Return the drawings that guides show, by their paths, such as `soak.svg`."""
    return {name: file for name, file in _files() if name.endswith(".svg")}


def _files() -> Iterator[tuple[str, Traversable]]:
    """Yield the path and the file of all that is in the folder docs."""
    root = importlib.resources.files(OWN) / FOLDER
    folders = [("", root)] if root.is_dir() else []
    for prefix, folder in folders:
        for entry in sorted(folder.iterdir(), key=lambda each: each.name):
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            else:
                yield prefix + entry.name, entry


def _figure(name: str) -> CompressedBody:
    return CompressedBody(figures()[name].read_bytes(), "image/svg+xml", PAGE_HEADERS)


def anchor_of(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading, so that links between the guides work here too."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _parse(name: str) -> tuple[MarkdownIt, list[Token]]:
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    return markdown, markdown.parse(guides()[name].read_text(encoding="utf-8"))


def _render(name: str) -> CompressedBody:
    """Return the page of a guide. To render the longest takes 0.1 s."""
    markdown, tokens = _parse(name)
    for token, after in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and after:
            token.attrSet("id", anchor_of(_text_of(after)))
        elif token.children:
            token.children = _linked(name, token.children)
    # The keyboard can scroll what is wider than the screen.
    body = re.sub("<(table|pre)>", r'<\1 tabindex="0">', markdown.renderer.render(tokens, markdown.options, {}))
    return _page(name, _title_of(tokens) or name, body)


def _linked(name: str, tokens: list[Token]) -> list[Token]:
    """Return the parts of a line, whose links to other guides lead to their pages, without links to other files."""
    kept, is_dropped = [], False
    for token in tokens:
        if token.type == "link_open":
            href = _address_of(name, str(token.attrGet("href")))
            is_dropped = href is None
            token.attrSet("href", href or "")
        if not (is_dropped and token.type in {"link_open", "link_close"}):
            kept.append(token)
    return kept


def _address_of(name: str, href: str) -> str | None:
    """Return where a guide's link leads: within the page, to another site or to another guide; None for other files."""
    if href.startswith(("#", "https://", "http://")):
        return href
    link = LINK.fullmatch(href)
    if link is None or posixpath.normpath(posixpath.join(posixpath.dirname(name), link["path"])) not in guides():
        return None
    return link["path"] + (link["anchor"] or "")


def _render_list() -> CompressedBody:
    titles = {name: _title_of(_parse(name)[1]) or name for name in guides()}
    rows = "".join(f'<li><a href="guides/{name}">{html.escape(title)}</a></li>\n' for name, title in titles.items())
    return _page("", "Guides", f"<h1>Guides</h1>\n<ul>\n{rows}</ul>\n")


def _page(name: str, title: str, body: str) -> CompressedBody:
    """Return a page with the header of all pages. `name` is the guide's name, or empty for the list."""
    template = Template((importlib.resources.files(OWN) / "static/guide.html").read_text(encoding="utf-8"))
    root = "../" * (name.count("/") + 1) if name else "./"
    page = template.substitute(title=html.escape(title), root=root, body=body)
    return CompressedBody(page.encode(), HTML, PAGE_HEADERS)


def _title_of(tokens: list[Token]) -> str | None:
    headings = (_text_of(after) for token, after in pairwise(tokens) if token.tag == "h1")
    return next(headings, None)


def _text_of(token: Token) -> str:
    """Return the text of a heading without its marks."""
    return "".join(child.content for child in token.children or ())
