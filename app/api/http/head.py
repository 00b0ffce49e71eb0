"""HEAD wherever GET is: the same route, checks and headers; the server sends no body."""

import copy
from http import HTTPStatus

from fastapi import FastAPI
from fastapi.routing import APIRoute


def install(app: FastAPI) -> None:
    """Give each GET of the application its HEAD; those whose headers are of use are in the document too."""
    gets = [route for route in app.router.routes if isinstance(route, APIRoute) and "GET" in (route.methods or ())]
    # Behind all others, so that no other request looks at them.
    app.router.routes += [_head_of(route) for route in gets]


def _head_of(route: APIRoute) -> APIRoute:
    """A route of its own, because FastAPI would give two methods of one the same id in the document."""
    head = copy.copy(route)
    head.methods = {"HEAD"}
    head.name = f"head_{route.name}"
    head.summary = f"{route.summary}: headers only"
    head.description = "The same as GET, without the body: what has changed, how large it is, whether it is there."
    head.include_in_schema = route.include_in_schema and "headers" in route.responses.get(HTTPStatus.OK, {})
    return head
