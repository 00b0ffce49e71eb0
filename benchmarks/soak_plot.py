"""Draws the samples of `soak.py` as an SVG picture: one small chart for each quantity, over the minutes of the run."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

Row = Mapping[str, float | None]

WIDTH, HEIGHT, LEFT, GAP = 780, 110, 60, 40
CHARTS = (
    ("service_mb", "service process, private memory, MB"),
    ("engine_mb", "engine process, private memory, MB"),
    ("descriptors", "open descriptors of the service process"),
    ("threads", "threads of the service process"),
    ("store_files", "files and folders in .store/"),
    ("store_mb", "bytes in .store/ without the journal, MB"),
)


def write_plot(path: Path, rows: Sequence[Row]) -> None:
    """Write the picture."""
    height = len(CHARTS) * (HEIGHT + GAP) + GAP
    minutes = (rows[-1]["seconds"] or 0) / 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 20} {height}" font-size="12">',
        "<style>text { font-family: sans-serif }</style>",
        f'<rect width="100%" height="100%" fill="white"/><title>A soak of {minutes:.0f} minutes</title>',
    ]
    for number, (name, title) in enumerate(CHARTS):
        parts += _chart(number * (HEIGHT + GAP) + GAP, name, title, rows)
    parts.append(
        f'<text x="{LEFT + WIDTH}" y="{height - 8}" text-anchor="end">minutes: 0 to {minutes:.0f}</text></svg>'
    )
    path.write_text("\n".join(parts) + "\n")


def _chart(top: int, name: str, title: str, rows: Sequence[Row]) -> list[str]:
    """Return the elements of one chart. Its scale begins at 0, so that growth is shown in proportion."""
    most = max((row[name] or 0) for row in rows) * 1.1 or 1
    last = rows[-1]["seconds"] or 1
    points = [
        f"{LEFT + (row['seconds'] or 0) / last * WIDTH:.1f},{top + HEIGHT - (row[name] or 0) / most * HEIGHT:.1f}"
        for row in rows
        if row[name] is not None
    ]
    return [
        f'<text x="{LEFT}" y="{top - 6}" font-weight="bold">{escape(title)}</text>',
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="#f6f6f6"/>',
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{most:,.4g}</text>',
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>',
        f'<polyline fill="none" stroke="#1f5fa8" stroke-width="1" points="{" ".join(points)}"/>',
    ]
