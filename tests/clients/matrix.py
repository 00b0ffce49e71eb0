"""The table of clients and tasks in docs/clients.md."""

from tests.clients.toolchain import PAGE


def ticked(client: str) -> list[str]:
    """Return the tasks that the table says a client does, in order."""
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:1] == "|"]
    header = next(row for row in rows if row[0] == "task")
    column = header.index(client)
    return [row[0] for row in rows if row[column : column + 1] == ["✓"]]
