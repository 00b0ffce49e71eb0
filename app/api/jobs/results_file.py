"""The answer with a job's results, which are in a file beside the job's record."""

import os
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from app.api.http.header_fields import JSON
from app.store.records.reader import open_regular


class ResultsFile(FileResponse):
    """The answer with a file that is already open, so that nothing can take the file's place before it is read."""

    def __init__(self, path: Path) -> None:
        """Open the file, which blocks. Raises FileNotFoundError, and RecordDamaged if it is not a regular file."""
        self._opened = open_regular(path)
        super().__init__(f"/proc/self/fd/{self._opened}", media_type=JSON, stat_result=os.fstat(self._opened))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, and close it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._opened)
