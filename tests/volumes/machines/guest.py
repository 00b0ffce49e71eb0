"""The command channel of a machine: it runs what the host sends, each command in a session of its own.

It runs as a script inside the machine, with the standard library alone, to start quickly on an emulated processor.
"""

import hmac
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 9000
TOKEN = Path("/run/token")
"""A file, since everybody on the host reaches the port, and whoever may send commands may read the host's files."""


class Commands(BaseHTTPRequestHandler):
    """POST runs a command; GET answers as soon as there is somebody to answer."""

    def do_GET(self) -> None:
        self._answer(200, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not hmac.compare_digest(self.headers.get("Authorization", ""), TOKEN.read_text().strip()):
            self._answer(403, {})
            return
        self._answer(200, run(**json.loads(body)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """The console is for the kernel."""

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def run(command: list[str], environment: dict[str, str], log: str | None) -> dict[str, Any]:
    """Run it to its end; or, with a log, go on at once and leave it running."""
    variables = os.environ | environment
    if log is None:
        ran = subprocess.run(
            command,
            check=False,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return {"pid": 0, "status": ran.returncode, "output": ran.stdout.decode(errors="replace")}
    with Path(log).open("ab") as stream:
        process = subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True).start()  # a process that nobody waited for still has its pid
    return {"pid": process.pid, "status": None, "output": ""}


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", PORT), Commands).serve_forever()
