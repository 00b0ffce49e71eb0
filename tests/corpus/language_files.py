"""Pages in languages of Latin script. The first line of each has most of the letters with accents of its language,
because an unlicensed engine returns little more than the first line.
"""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from tests.corpus.case import Case, oriented, saved
from tests.support.files import pictures

FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")
"""A font with the letters of all these languages, from Debian's package fonts-dejavu-core."""
POINTS = 24
TEXTS = {
    "afr": ("Afrikaans", "Sê môre vir die reën, ek hoor die koeël", "wat oor die lêer vlieg, en daarna", "is dit nag."),
    "cat": ("Catalan", "L'àvia és a la plaça, però l'ós ja ve", "amb raïm i col·legues del mes de", "juny."),
    "ces": ("Czech", "Příliš žluťoučký kůň úpěl ďábelské", "ódy, než přišla bouře a náš soused", "zavřel."),
    "dan": ("Danish", "Blåbærgrød og søde æbler står på", "bordet, når børnene kører hjem fra", "skolen."),
    "deu": ("German", "Größe und Maß: süße Äpfel, Öl, Übung", "liegen täglich auf dem Tisch, wenn", "es schneit."),
    "est": ("Estonian", "Põder jõi öösel külma õunamahla ära", "ja läks mööda väikest teed kõrge mäe", "juurde."),
    "fin": ("Finnish", "Yöllä mökissä työmies söi hyvää leipää", "ja näki järvellä kylmän väylän jään", "alla."),
    "fra": ("French", "Été à Noël, déjà un garçon naïf rêvait", "d'un gâteau près de la forêt où il a", "goûté."),
    "hrv": ("Croatian", "Gđa Žužić već čeka kišu i šalje đaka", "kući po čašu vode, jer noćas dolaze", "gosti."),
    "hun": ("Hungarian", "Árvíztűrő tükörfúrógép új őrült zaját", "hallotta a szőke fiú a hídon, mielőtt", "elment."),
    "ita": (
        "Italian",
        "Perché è già lì, più in là c'è la città",
        "dove martedì si può bere un caffè con",
        "gli amici.",
    ),
    "lav": ("Latvian", "Ķīļu māja šūpojas, ģērbēja ņem žogu", "un čakli dzied par pļavām pie ūdens", "malas."),
    "lit": ("Lithuanian", "Ąžuolų šešėlyje čiurlys įlėkė į žūklę", "ir pamatė ėjusį žmogų su šunimi prie", "upės."),
    "nld": ("Dutch", "Één reünie in België bij oude ruïnes", "waar zeeën ruisen en vrienden samen", "eten."),
    "nor": ("Norwegian", "Blåbærsyltetøy på brød, så går øret", "til sjøen, der båtene ligger stille", "nå."),
    "pol": ("Polish", "Zażółć gęślą jaźń, pchnąć w tę łódź", "jeża lub ośm skrzyń fig, gdy świeci", "słońce."),
    "por": ("Portuguese", "Irmãos à mesa: pão, maçã, avô e avó", "não têm pressa, e amanhã às três vão", "de comboio."),
    "ron": ("Romanian", "Țară și mâine: împărăția își știe", "fântâna, iar băiatul așteaptă lângă", "pădure."),
    "slk": ("Slovak", "Kŕdeľ šťastných ďatľov, môj kôň, mäso", "učí pri ústí Váhu mĺkveho koňa obhrýzať", "kôru."),
    "slv": ("Slovenian", "Žejni čebelar išče šest čaš, žarek", "sonca pa že greje češnje na vrhu", "hriba."),
    "spa": ("Spanish", "¿Qué niño bebió más? ¡El pingüino así", "comió jamón con su tía en la montaña", "de Aragón."),
    "swe": ("Swedish", "Åsa åt blåbär på ön, röda äpplen föll", "när hösten kom över sjön och löven", "blåste."),
    "tur": ("Turkish", "Pijamalı İğdırlı ağız şoföre çabuk ün", "verdi ve ışığı söndürüp güneşin altında", "uyudu."),  # noqa: RUF001 - it is Turkish
    "vie": ("Vietnamese", "Trời đẹp quá, tôi đi chợ mua cá tươi", "và gặp một người bạn cũ ở đường lớn", "hôm nay."),
}
"""By the name that the service, the vendor and tesseract have for a language: its English name and the lines."""
IN_ALL_FORMATS = ("deu", "fra", "pol", "tur")


def page(code: str) -> Image.Image:
    return pictures.page(*TEXTS[code][1:], points=POINTS, mode="L", font=str(FONT))


def black_and_white(code: str) -> Image.Image:
    """Return the page as a scanner makes it in black and white, without dithering."""
    return page(code).point(lambda value: 255 if value > 127 else 0).convert("1", dither=Image.Dither.NONE)


def lying_jpeg(code: str) -> bytes:
    """Return a photo of the page that lies on its side, as a phone stores it."""
    image, exif = oriented(6, page(code))
    return saved(image, "JPEG", exif=exif.tobytes(), quality=70)


def pdf_text(code: str) -> bytes:
    """Return a PDF that writes the page in an embedded font."""
    pdfmetrics.registerFont(TTFont("DejaVu", str(FONT)))
    width, height = page(code).size
    file = io.BytesIO()
    canvas = Canvas(file, (width / 2, height / 2))
    canvas.setFont("DejaVu", POINTS / 2)
    for number, line in enumerate(TEXTS[code][1:]):
        canvas.drawString(POINTS / 2, height / 2 - (number + 1.8) * POINTS * 3 / 4, line)
    canvas.save()
    return file.getvalue()


def _case(code: str, form: str) -> Case:
    makers: dict[str, Callable[[], bytes]] = {
        "PNG": lambda: saved(page(code), "PNG"),
        "JPEG on its side": partial(lying_jpeg, code),
        "TIFF, group4": lambda: saved(black_and_white(code), "TIFF", compression="group4"),
        "PDF, text": partial(pdf_text, code),
    }
    name, *lines = TEXTS[code]
    return Case(f"{form}, {name}", makers[form], lines=tuple(lines), language=code, tesseract=code)


LANGUAGE_CASES = [
    *[_case(code, "PNG") for code in TEXTS],
    *[_case(code, form) for form in ("JPEG on its side", "TIFF, group4", "PDF, text") for code in IN_ALL_FORMATS],
]
"""The cases; to make them, the font must be installed."""
