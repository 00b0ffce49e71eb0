"""The servers that the service is compared with. `python benchmarks/servers.py NAME` runs one of them.

They run under the same uvicorn with the same options as the service. A floor leaves out a part of the service's work.
"""

import ctypes
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

ASGIApp = Callable[..., Awaitable[None]]


def bare() -> ASGIApp:
    """Floor 1: an ASGI application that answers every request with the bytes of `BENCH_BODY`, without a framework."""
    body = Path(os.environ["BENCH_BODY"]).read_bytes()
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")],
    }

    async def app(scope: dict[str, Any], _: object, send: Callable[..., Awaitable[None]]) -> None:
        if scope["type"] == "http":
            await send(start)
            await send({"type": "http.response.body", "body": body})

    return app


def framework() -> ASGIApp:
    """Floor 2: one FastAPI route that returns the bytes of `BENCH_BODY`; no ids, log, keys or limits."""
    body = Path(os.environ["BENCH_BODY"]).read_bytes()
    app = FastAPI()

    @app.get("/models")
    async def list_models() -> Response:
        return Response(body, media_type="application/json")

    return app


class NaiveModel(BaseModel):
    name: str
    path: str
    size_bytes: int
    modified_at: datetime
    status: Literal["current", "old"]
    protected: bool
    in_use: bool
    recognised: bool | None
    etag: str


class NaiveList(BaseModel):
    count: int
    total_size_bytes: int
    models: list[NaiveModel]
    warnings: list[str]


def naive() -> ASGIApp:
    """A simple implementation: every request scans the folder on the event loop. It has no locks and no engine."""
    root = Path(os.environ["OCR_MODELS_DIR"])
    app = FastAPI()

    @app.get("/models")
    async def list_models() -> NaiveList:
        with os.scandir(root) as entries:
            found = sorted((e.name, e.stat()) for e in entries if e.is_file() and not e.name.startswith("."))
        models = [
            NaiveModel(
                name=name,
                path=f"{root}/{name}",
                size_bytes=status.st_size,
                modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
                status="old" if name.startswith("old_") else "current",
                protected=False,
                in_use=False,
                recognised=None,
                etag=f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"',
            )
            for name, status in found
        ]
        total = sum(model.size_bytes for model in models)
        return NaiveList(count=len(models), total_size_bytes=total, models=models, warnings=[])

    return app


def minimal() -> FastAPI:
    """The smallest FastAPI application, with which every service of this kind begins."""
    app = FastAPI()

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    return app


def in_process() -> FastAPI:
    """A server as in tutorials, with the engine in its own process. A call in a thread still blocks it by the GIL."""
    app = minimal()

    @app.get("/models")
    async def list_models() -> dict[str, list[str]]:
        return {"models": []}

    @app.get("/hold")
    def hold(seconds: float) -> None:
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))  # PyDLL keeps the GIL, as AsposeAI's calls do

    return app


def in_process_aspose() -> FastAPI:
    """A server with the real AsposeAI in its own process, in a directory and an environment that AsposeAI needs."""
    from aspose.ocr.ai import AsposeAI  # noqa: PLC0415 - the other servers are measured without it

    app = minimal()
    engine = AsposeAI()

    @app.get("/path")
    def get_path() -> str:
        return str(engine.get_local_path())

    return app


def beside() -> ASGIApp:
    """The service with one more route, `/hold`, which occupies the engine for a chosen time."""
    from app import logs  # noqa: PLC0415
    from app.main import create_app  # noqa: PLC0415
    from app.settings import Settings  # noqa: PLC0415

    logs.configure("json", "info")
    app = create_app(Settings(engine_class="tests.support.engines:Echo"))

    @app.get("/hold")
    async def hold(request: Request, seconds: float) -> None:
        await request.state.supervisor.call("hold_gil", {"seconds": seconds}, seconds=10)

    return app


if __name__ == "__main__":
    servers = (bare, framework, naive, minimal, in_process, in_process_aspose, beside)
    application = {server.__name__: server for server in servers}[sys.argv[1]]()
    uvicorn.run(
        application,
        port=int(os.environ["BENCH_PORT"]),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
    )
