"""What can be wrong with an image."""

from app.errors.base import ServiceError


class ImageError(ServiceError):
    """Something about an image that is to be read. It crosses from the engine process as its class's name and facts."""

    def __init__(self, message: str, **facts: str | int) -> None:
        super().__init__(message)
        self.facts = facts


class UnsupportedImage(ImageError):
    """The bytes are of a format that is not read, or not of the one that was announced."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The image is {what}. PNG, JPEG, TIFF, BMP, GIF and PDF are read, under their own media types.", what=what
        )


class UnreadableImage(ImageError):
    """The bytes are broken, cut short, or no image at all."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The image cannot be read: {reason}.", reason=reason)


class ImageTooLarge(ImageError):
    """The image has more pixels or pages than are read."""

    def __init__(self, what: str, limit: str) -> None:
        super().__init__(f"The image has {what}, and the limit is {limit}.", what=what, limit=limit)


class EncryptedPdf(ImageError):
    """The PDF cannot be opened without a password."""

    def __init__(self) -> None:
        super().__init__("The PDF is encrypted. Send it without a password.")


class UnknownLanguage(ImageError):
    """The engine has no language of that name."""

    def __init__(self, language: str, known: str) -> None:
        super().__init__(f"AsposeAI has no language {language!r}. It has: {known}.", language=language, known=known)


class ResourceMissing(ImageError):
    """The engine lacks the file that it needs for that language or kind of area, and nothing is downloaded."""

    def __init__(self, resource: str) -> None:
        super().__init__(
            f"AsposeAI needs {resource!r} for that, which its package does not carry and this service does not "
            "download. Choose another language or kind of area.",
            resource=resource,
        )
        self.resource = resource
