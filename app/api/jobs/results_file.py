"""The HTTP answer with a job's results, read from a file beside the job's record."""

import os
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.types import Receive, Scope, Send

from app.api.http.header_fields import JSON
from app.store.records.reader import open_regular


class ResultsFile(FileResponse):
    """An HTTP answer with the content of a file. The file is opened at once, so that no other file can replace it."""

    def __init__(self, path: Path) -> None:
        """Open the file. Blocks. Raises FileNotFoundError, and RecordDamaged if the path is not a regular file."""
        self._opened = open_regular(path)
        super().__init__(f"/proc/self/fd/{self._opened}", media_type=JSON, stat_result=os.fstat(self._opened))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, and close it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._opened)
