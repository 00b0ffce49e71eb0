"""Progress bars on stderr, if stderr is a terminal.

click's own bar is enough: one line with a label, the share and the time left. Rich has no place for the rest of the
output, whose tables programs also read, so it would be a dependency for one line.
"""

import sys
from typing import Any

import click


def progress_bar(total_bytes: int, label: str = "") -> Any:  # noqa: ANN401 - click's class has no public name
    """Return a bar that counts bytes, hidden without a terminal. Use it in a `with` block, and call its `update`."""
    return click.progressbar(length=total_bytes, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())
