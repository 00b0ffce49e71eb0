"""Lose the machine of a replica behind HAProxy while a request waits for its answer, in a network namespace.

    unshare --net python -m tests.support.deployed.lost_machine FILE

FILE is HAProxy's configuration. Prints the port of the lost replica, the status of the answer, and the port of the
replica that gave it. The replicas are small servers of this program, since only the proxy and the kernel are tried.
"""

import http.server
import subprocess
import sys
import threading
import time

import httpx

from tests.support.waiting import eventually

PROXY, PORTS = "http://127.0.0.1:8080", (8001, 8002)
LOST = threading.Event()
ASKED: list[int] = []


class Replica(http.server.BaseHTTPRequestHandler):
    """A replica that answers the first request for `/models` only after its machine was lost."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the port."""
        port = self.server.server_port  # type: ignore[attr-defined] # an HTTPServer
        if self.path == "/models":
            ASKED.append(port)
            if len(ASKED) == 1:
                LOST.wait()
        body = str(port).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def lose(port: int) -> None:
    """Drop each packet from and to a port, as if the machine were gone."""
    for side in ("--dport", "--sport"):
        subprocess.run(["iptables", "-I", "INPUT", "-p", "tcp", side, str(port), "-j", "DROP"], check=True)


def main() -> None:
    """Run the servers and the proxy, lose a replica, and print what the caller got."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for port in PORTS:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Replica)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    with (
        subprocess.Popen(["haproxy", "-W", "-db", "-f", sys.argv[1]], stdout=subprocess.DEVNULL) as proxy,
        httpx.Client(base_url=PROXY, timeout=httpx.Timeout(5, read=120)) as client,
    ):
        try:
            eventually(lambda: answers(client), within=60)
            threading.Thread(target=lose_when_asked, daemon=True).start()
            answer = client.get("/models")
            print(ASKED[0], answer.status_code, answer.text)
        finally:
            proxy.terminate()


def answers(client: httpx.Client) -> bool:
    """Return True if both replicas answer through the proxy."""
    try:
        found = {client.get("/version").text for _ in range(8)}
    except httpx.TransportError:
        return False
    return found == {str(port) for port in PORTS}


def lose_when_asked() -> None:
    """Lose the replica that has received the request, before it answers."""
    while not ASKED:
        time.sleep(0.01)
    time.sleep(1)  # until the kernel has acknowledged the request, or it is sent again for 15 minutes
    lose(ASKED[0])
    LOST.set()


if __name__ == "__main__":
    main()
