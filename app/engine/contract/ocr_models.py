"""The names of the vendor's OCR models, and where recognition finds them.

The vendor calls an OCR model a *resource*. The resource `aspose-ocr-cyrillic-v1` is the file
`aspose-ocr-cyrillic-v1.ocr`.
"""

from pathlib import PurePosixPath

SUFFIX = ".ocr"


def file_of(resource: str) -> str:
    """Return the file name of a resource. A name that ends with `.ocr` is returned unchanged."""
    return resource if resource.endswith(SUFFIX) else f"{resource}{SUFFIX}"


def resource_of(file: str) -> str:
    """Return the name of the resource in a file: the file's name without `.ocr`."""
    return file.removesuffix(SUFFIX)


def is_ocr_model(name: str) -> bool:
    """Return True if a model's name has the suffix of OCR models, in any case and in any folder."""
    return name.lower().endswith(SUFFIX)


def why_not_found(name: str) -> str | None:
    """Return why recognition does not find an OCR model by its name; None if recognition finds it, or for other models.

    The vendor looks for the file `<resource>.ocr` in the model folder itself. Measured with aspose-ocr-python-net
    26.10.0.
    """
    path = PurePosixPath(name)
    if not is_ocr_model(name):
        return None
    if str(path.parent) != ".":
        return (
            f"recognition finds OCR models only in the model folder itself, and this one is in the folder "
            f"{str(path.parent)!r}; upload or pull it as {path.name!r}"
        )
    if not name.endswith(SUFFIX):
        return (
            f"recognition finds only names that end with {SUFFIX!r} in lower case; upload or pull it under such a name"
        )
    return None
