"""The command `ocr`, which has a running service recognise files."""

import sys
from pathlib import Path

import click

from app.cli.connection import on_service, service
from app.cli.console import REFUSED, exit_with, note, say_bytes

FORM_FEED = b"\f"
"""Stands between the texts of two files, as it does between two pages."""


def _pairs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in given:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise click.BadParameter("it must be NAME=VALUE, such as areas=table")
        options[name] = value
    return options


@click.command("ocr")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--language", help="The language or script, such as eng or rus.")
@click.option("--pages", help="The pages to read, such as 1-3,7.")
@click.option("--mode", help="`fast` takes less time and makes more errors.")
@click.option("--format", "format_", default="text", show_default=True, help="text, json, pdf, hocr, docx and others.")
@click.option(
    "--option", "others", multiple=True, callback=_pairs, metavar="NAME=VALUE", help="Any option of POST /ocr."
)
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the password of an encrypted PDF.",
)
@click.option("--output", type=click.Path(path_type=Path, allow_dash=True), help="The file to write. Default: stdout.")
@click.option("--json", "is_json", is_flag=True, help="The same as --format json.")
@on_service
def ocr(
    files: tuple[Path, ...],
    format_: str,
    others: dict[str, str],
    password_file: Path | None,
    output: Path | None,
    *,
    is_json: bool,
    **options: str | None,
) -> None:
    """Recognise the text of images, PDFs or ZIPs.

    Documents, such as PDF and DOCX, need --output, and one FILE.
    """
    wanted = "json" if is_json else format_
    query = {name: value for name, value in options.items() if value is not None} | others | {"format": wanted}
    if wanted not in {"text", "json"} and (len(files) > 1 or (output is None and sys.stdout.isatty())):
        raise click.UsageError(f"for {wanted}, give one FILE and --output")
    password = password_file.read_text().rstrip("\r\n") if password_file else None
    target = service()
    answers: list[bytes] = []
    for file in files:
        if len(files) > 1:
            note(f"{file}")
        answers.append(target.recognise(file, query, password))
    content = (b"\n" if wanted == "json" else FORM_FEED).join(answers)
    if wanted in {"text", "json"} and not content.endswith(b"\n"):
        content += b"\n"
    if output is None or str(output) == "-":
        say_bytes(content)
        return
    try:
        output.write_bytes(content)
    except OSError as exc:
        exit_with(REFUSED, f"{output} cannot be written: {exc.strerror or exc}.")
