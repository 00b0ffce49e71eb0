"""The answer of `GET /resources`."""

from pydantic import NonNegativeInt

from app.api.http.schema import Schema, Timestamp
from app.api.models.schemas import NeededForOut


class ResourceOut(Schema):
    """One OCR model: offered by the site, in the model folder, or needed by the vendor's package."""

    name: str
    """The vendor's name, without `.ocr`. `POST /pulls` takes it as `resource`."""
    file: str
    """The name of the file in the model folder: `<name>.ocr`."""
    offered: bool | None
    """Whether the site offers the OCR model. Null if the site has not answered yet."""
    offered_size_bytes: NonNegativeInt | None
    """The size of the site's file. Null if the site has not stated it."""
    offered_sha256: str | None
    """The digest of the site's file. Null if the site does not state it."""
    here: bool
    """Whether the file is in the model folder itself, where recognition finds it."""
    size_bytes: NonNegativeInt | None
    """The size of the file in the model folder. Null if the folder does not have the file."""
    recognised: bool | None
    """Whether the engine lists the file in the model folder. Null if there is no such file, or if the engine was not
    asked since the file came."""
    in_use: bool
    """Whether any process holds a lease on the file in the model folder."""
    needed_for: NeededForOut | None
    """What in this version of the vendor's package needs the OCR model. Null while the facts of the package are not
    known."""

    remark: str | None
    """Why recognition does not use the file in the model folder, such as for its size. Null if no reason is known."""


class ResourceListOut(Schema):
    """The vendor's OCR models: offered by the site of `OCR_RESOURCES_URL`, in the model folder, or needed."""

    site_url: str | None
    """The folder of the site from which files are requested. Null if `OCR_RESOURCES_URL` is `off`."""
    asked_at: Timestamp | None
    """When the site gave the list that this answer shows; null if it has given none. The site is asked again after ten
    minutes."""
    remote_error: str | None
    """Why the site's present list is not known; the answer then shows the site's last list, if there is one. Else
    null."""
    count: NonNegativeInt
    """How many OCR models the answer has."""
    resources: list[ResourceOut]
    """The OCR models, by name."""
