"""The command server of a machine: it runs the commands that the host sends, each in a new session.

It runs as a script inside the machine, with the standard library only, so that it starts quickly on an emulated
processor.
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
"""The file of the secret that commands need: any user of the host can reach the port, and commands can read files."""


class Commands(BaseHTTPRequestHandler):
    """The HTTP handler: POST runs a command, and GET answers 200 as soon as the server runs."""

    def do_GET(self) -> None:
        self._answer(200, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not hmac.compare_digest(self.headers.get("Authorization", ""), TOKEN.read_text().strip()):
            self._answer(403, {})
            return
        self._answer(200, run(**json.loads(body)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Log nothing: the console is for the kernel."""

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def run(command: list[str], environment: dict[str, str], log: str | None) -> dict[str, Any]:
    """Run a command to its end; with `log`, start it, leave it running, and write its output there."""
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
    threading.Thread(target=process.wait, daemon=True).start()  # reap it, because a zombie would keep its pid
    return {"pid": process.pid, "status": None, "output": ""}


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", PORT), Commands).serve_forever()
