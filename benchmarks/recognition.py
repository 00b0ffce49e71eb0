"""Compares recognition by this service and by tesseract on the same images: error rates and seconds.

    python benchmarks/recognition.py

Needs the native libraries (`python -m app provision`) and Debian's `tesseract-ocr` with `-deu` and `-rus`. Without a
licence the engine returns only the beginning of a text. So the error rate is that of the returned beginning: its
Levenshtein distance to the beginning of the true text that fits it best, divided by its length. Tesseract's text is cut
to the same length, so that both are judged by the same words.
"""

import io
import json
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from common import Server
from PIL import Image, ImageDraw, ImageFont
from recognisers import error_rate

FONTS = Path("/usr/share/fonts/truetype")
TEXT = [
    "The harbour was quiet when the first boats came home,",
    "and nobody on the long stone pier had seen the storm",
    "that waited far behind the islands. Twelve men carried",
    "nets, ropes and 38 baskets of fish up the wet steps;",
    "the others lit their pipes and talked about the wind.",
    "By nine o'clock the market hall smelled of salt and tar,",
    "and the clerk wrote down 1,476 pounds in his blue book.",
    "It had been, he said, a good week for the time of year.",
]
GERMAN = [
    "Über den Dächern der Stadt zogen früh die Störche,",
    "während der Bäcker müde seine Öfen schürte. Größere",
    "Brötchen kosten heute 45 Cent, süße Hörnchen ein wenig",
    "mehr; für fünf Käufer reicht das Körbchen. Draußen",
    "grüßt der Müller, und die Mägde schöpfen Wasser aus",
    "dem Brunnen vor der Mühle, bis die Glocken läuten.",
]
RUSSIAN = [
    "Быстрая коричневая лиса прыгает через ленивую собаку,",
    "пока старый сторож читает вчерашнюю газету у окна.",  # noqa: RUF001 - it is Cyrillic
]


@dataclass(frozen=True)
class Case:
    """One image: its text, font, size and rotation."""

    name: str
    lines: list[str]
    font: str = "dejavu/DejaVuSans.ttf"
    points: int = 28
    degrees: float = 0
    language: str = "latin"
    tesseract: str = "eng"
    auto_skew: bool = False

    def image(self) -> Image.Image:
        """Draw the image."""
        font = ImageFont.truetype(str(FONTS / self.font), self.points)
        width = max(int(font.getlength(line)) for line in self.lines) + 2 * self.points
        image = Image.new("L", (width, (len(self.lines) + 2) * self.points * 3 // 2), 255)
        for number, line in enumerate(self.lines):
            place = (self.points, (number + 1) * self.points * 3 // 2)
            ImageDraw.Draw(image).text(place, line, fill=0, font=font)
        return image.rotate(self.degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=255)


CASES = [
    Case("sans, 28 px", TEXT),
    Case("serif, 28 px", TEXT, "liberation/LiberationSerif-Regular.ttf"),
    Case("monospace, 28 px", TEXT, "liberation/LiberationMono-Regular.ttf"),
    Case("italic, 28 px", TEXT, "liberation/LiberationSerif-Italic.ttf"),
    Case("sans, 12 px", TEXT, points=12),
    Case("sans, 18 px", TEXT, points=18),
    Case("sans, 48 px", TEXT, points=48),
    Case("sans, 28 px, 2 degrees", TEXT, degrees=2),
    Case("sans, 28 px, 5 degrees", TEXT, degrees=5),
    Case("sans, 28 px, 5 degrees with auto_skew", TEXT, degrees=5, auto_skew=True),
    Case("sans, 28 px, 0 degrees with auto_skew", TEXT, auto_skew=True),
    Case("sans, 28 px, 180 degrees", TEXT, degrees=180),
    Case("German, serif, 28 px", GERMAN, "liberation/LiberationSerif-Regular.ttf", language="deu", tesseract="deu"),
    Case("Cyrillic, sans, 28 px", RUSSIAN, language="rus", tesseract="rus"),
]


def main() -> None:
    """Recognise every image with both and print the table."""
    print("| image | error, service | error, tesseract | compared characters | s, service | s, tesseract |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder, "models")
        models.mkdir()
        with Server.service(models, Path(folder, "state")) as server:
            server.wait_for("/readyz")
            by_service(server, CASES[0].image(), CASES[0])  # the first call loads the vendor's networks
            rows = list(compared(server))
    both = [row for row in rows if row is not None]
    means = [statistics.mean(column) for column in zip(*both, strict=True)]
    print(f"| mean of images that both read | {means[0]:.1%} | {means[1]:.1%} | | {means[2]:.2f} | {means[3]:.2f} |")


def compared(server: Server) -> Iterator[tuple[float, float, float, float] | None]:
    """Recognise each image with both, print its row, and yield its errors and seconds; None if unsupported."""
    for case in CASES:
        image = case.image()
        ours, our_seconds = by_service(server, image, case)
        theirs, their_seconds = by_tesseract(image, case)
        length = len(ours) if ours else len("\n".join(case.lines)) * 3 // 10
        their_error = error_rate(case.lines, theirs[:length])
        if ours is None:
            print(f"| {case.name} | unsupported | {their_error:.1%} | {length} | | {their_seconds:.2f} |")
            yield None
            continue
        our_error = error_rate(case.lines, ours)
        errors, seconds = f"{our_error:.1%} | {their_error:.1%}", f"{our_seconds:.2f} | {their_seconds:.2f}"
        print(f"| {case.name} | {errors} | {length} | {seconds} |", flush=True)
        yield our_error, their_error, our_seconds, their_seconds


def by_service(server: Server, image: Image.Image, case: Case) -> tuple[str | None, float]:
    """Return the text and the seconds of the whole request; None if the engine does not support the language."""
    file = io.BytesIO()
    image.save(file, "PNG")
    url = f"{server.url}/ocr?language={case.language}&auto_skew={case.auto_skew}"
    request = urllib.request.Request(url, file.getvalue(), {"content-type": "image/png"})
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request) as answer:
            text = json.load(answer)["text"]
    except urllib.error.HTTPError as problem:
        if problem.code != 422:
            raise
        return None, 0.0
    return text, time.perf_counter() - began


def by_tesseract(image: Image.Image, case: Case) -> tuple[str, float]:
    """Return the text and the seconds of the whole command, with its start."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        image.save(file.name)
        began = time.perf_counter()
        command = ["tesseract", file.name, "-", "-l", case.tesseract]
        text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        return "\n".join(line for line in text.splitlines() if line.strip()), time.perf_counter() - began


if __name__ == "__main__":
    main()
