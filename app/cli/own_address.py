"""The URL at which this machine reaches the service that the settings describe."""

from app.settings import Settings

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound to these addresses here
"""The addresses that mean every address of a machine, and the one of the machine itself."""


def own_url(settings: Settings, port: int | None = None) -> str:
    """Return the URL, with the path prefix if there is one. `port` is the port in use if the settings choose any."""
    host = ANY_ADDRESS.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{port or settings.port}{settings.root_path}"
