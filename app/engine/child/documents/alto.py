"""Recognised pages as ALTO 4 (XML), the format in which libraries and archives store text and its positions."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from app.engine.child.documents.pages import Box, Page, PlacedLine
from app.engine.child.documents.words import words_of

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"


def alto_of(pages: Sequence[Page], tag: str | None) -> bytes:
    """Return the ALTO document of pages. `tag` is the BCP 47 tag of their language, or None."""
    root = ET.Element("alto", {"xmlns": NAMESPACE})
    description = ET.SubElement(root, "Description")
    ET.SubElement(description, "MeasurementUnit").text = "pixel"
    processing = ET.SubElement(description, "OCRProcessing", {"ID": "ocr"})
    software = ET.SubElement(ET.SubElement(processing, "ocrProcessingStep"), "processingSoftware")
    ET.SubElement(software, "softwareName").text = "Aspose.OCR"
    layout = ET.SubElement(root, "Layout")
    for page in pages:
        _add_page(layout, page, tag)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _add_page(layout: ET.Element, page: Page, tag: str | None) -> None:
    size = {"WIDTH": str(page.width), "HEIGHT": str(page.height)}
    name = f"page_{page.number}"
    sheet = ET.SubElement(layout, "Page", {"ID": name, "PHYSICAL_IMG_NR": str(page.number), **size})
    space = ET.SubElement(sheet, "PrintSpace", {"HPOS": "0", "VPOS": "0", **size})
    lang = {"LANG": tag} if tag else {}
    for at, lines in enumerate(page.placed_paragraphs(), 1):
        block_name, around = f"{name}_block_{at}", Box.around([line.box for line in lines])
        block = ET.SubElement(space, "TextBlock", {"ID": block_name, **lang, **_place(around)})
        for number, line in enumerate(lines, 1):
            _add_line(block, line, f"{block_name}_line_{number}")


def _add_line(block: ET.Element, line: PlacedLine, name: str) -> None:
    row = ET.SubElement(block, "TextLine", {"ID": name, **_place(line.box)})
    for number, word in enumerate(words_of(line)):
        if number:
            ET.SubElement(row, "SP")
        ET.SubElement(row, "String", {"CONTENT": word.text, **_place(word.box)})


def _place(box: Box) -> dict[str, str]:
    places = {"HPOS": box.x, "VPOS": box.y, "WIDTH": box.width, "HEIGHT": box.height}
    return {name: str(round(value)) for name, value in places.items()}
