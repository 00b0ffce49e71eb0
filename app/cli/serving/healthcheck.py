"""The command `healthcheck`: asks the service that the settings describe, on this machine, whether it answers.

The image's HEALTHCHECK runs it. It asks `/livez`, not `/readyz`: a container must not be restarted because its engine
restarts.
"""

import http.client
from urllib.parse import urlsplit

import click

from app.cli.console import REFUSED, exit_with, say
from app.cli.own_address import own_url
from app.settings import Settings, SettingsError, load_settings

ANY_NAME = "*"
SECONDS = 5.0
"""How long the command waits for the answer."""


@click.command("healthcheck")
def healthcheck() -> None:
    """Ask the service on this machine whether it answers. Exit status: 0 it does, 1 it does not, 2 wrong settings."""
    settings = load_settings()
    if not settings.port:
        raise SettingsError("OCR_PORT=0 lets the service choose any free port, which this command cannot know")
    url = own_url(settings)
    try:
        status = _status_of(url, _accepted_host(settings))
    except (OSError, http.client.HTTPException) as exc:
        exit_with(REFUSED, f"{url}/livez does not answer: {exc}")
    if status != http.client.OK:
        exit_with(REFUSED, f"{url}/livez answers {status}")
    say(f"{url}/livez answers {status}")


def _accepted_host(settings: Settings) -> str | None:
    """Return the host name to send, one of OCR_ALLOWED_HOSTS; None for the name in the URL."""
    names = settings.allowed_hosts
    return names[0] if names and ANY_NAME not in names else None


def _status_of(url: str, host: str | None) -> int:
    """Return the status of the answer of /livez. Raises OSError and HTTPException."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)
    try:
        connection.request("GET", "/livez", headers={"host": host} if host else {})
        return connection.getresponse().status
    finally:
        connection.close()
