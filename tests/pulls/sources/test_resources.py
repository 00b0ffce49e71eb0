"""The site of OCR models: the addresses of GitHub, and where it may redirect to."""

import httpx
import pytest

from app.errors import SourceNotAllowed
from app.fetching.http_client import HttpClient
from app.pulls.request import PullRequest
from app.pulls.sources.base import SourceFile
from app.pulls.sources.resources import ResourceSource, raw_folder
from tests.support.hub import running_hub


@pytest.mark.parametrize(
    ("url", "folder"),
    [
        ("https://github.com/aspose-ocr/resources", "https://github.com/aspose-ocr/resources/raw/HEAD"),
        ("https://github.com/aspose-ocr/resources/", "https://github.com/aspose-ocr/resources/raw/HEAD"),
        ("https://github.com/aspose-ocr/resources/tree/main", "https://github.com/aspose-ocr/resources/raw/main"),
        ("https://github.com/org/repo/blob/v1/ocr/models/", "https://github.com/org/repo/raw/v1/ocr/models"),
        ("http://files.example/ocr/", "http://files.example/ocr"),
        ("https://github.example/org/repo", "https://github.example/org/repo"),
    ],
)
def test_the_address_of_a_repository_becomes_that_of_its_raw_files(url: str, folder: str) -> None:
    """GitHub's pages become the address of the raw files; any other address is used as it is."""
    assert raw_folder(url) == folder


GITHUB, OWN = "https://github.com/aspose-ocr/resources", "http://127.0.0.2:1/ocr"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("site", "url", "is_allowed"),
    [
        (GITHUB, "https://raw.githubusercontent.com/aspose-ocr/resources/main/a.ocr", True),
        (GITHUB, "https://media.githubusercontent.com/media/a.ocr", True),
        (GITHUB, "http://raw.githubusercontent.com/a.ocr", False),
        (GITHUB, "https://raw.githubusercontent.com:8443/a.ocr", False),
        (GITHUB, "https://evil-githubusercontent.com/a.ocr", False),
        (GITHUB, "https://githubusercontent.com.evil.example/a.ocr", False),
        (GITHUB, "http://169.254.169.254/latest/meta-data", False),
        (OWN, "https://raw.githubusercontent.com/a.ocr", False),
        (OWN, "http://127.0.0.2:1/ocr/deeper/a.ocr", True),
        (OWN, "http://127.0.0.2:1/ocr/../secret", False),
        (OWN, "http://127.0.0.2:1/other", False),
        (OWN, "http://user@127.0.0.2:1/ocr/a.ocr", False),
    ],
)
async def test_where_a_site_may_redirect_to(site: str, url: str, is_allowed: bool) -> None:  # noqa: FBT001
    """GitHub may redirect to its own hosts with https, any site to addresses below its own; nothing else is asked."""
    with running_hub() as hub:
        site = site.replace("http://127.0.0.2:1", hub.cdn_url)
        url = url.replace("http://127.0.0.2:1", hub.cdn_url).replace(
            "http://user@127.0.0.2:1", f"http://user@{hub.cdn_url[7:]}"
        )
        source = ResourceSource(HttpClient(5), site, ())
        check = source._check  # GitHub cannot be reached from a test
        if is_allowed:
            check(httpx.URL(url))
        else:
            with pytest.raises(SourceNotAllowed):
                check(httpx.URL(url))
        await source.aclose()


@pytest.mark.anyio
async def test_the_size_of_a_file_is_asked_for_without_its_bytes() -> None:
    """`size_of` sends HEAD, and does not receive the file."""
    with running_hub() as hub:
        hub.put("/ocr/a.ocr", b"12345")
        source = ResourceSource(HttpClient(5), f"{hub.cdn_url}/ocr", ())

        assert await source.size_of("a") == 5
        assert [seen.method for seen in hub.seen] == ["HEAD"]
        with pytest.raises(SourceNotAllowed):
            async with ResourceSource(HttpClient(5), None, ()).open(SourceFile("a", "http://127.0.0.1/a")):
                pass
        await source.aclose()


def test_records_of_other_pulls_are_those_that_older_services_know() -> None:
    """Only the record of a pull of an OCR model has the field `resource`; each record gives its request again."""
    of_url, of_resource = PullRequest(url="http://x/a"), PullRequest(resource="aspose-ocr-cyrillic-v1.ocr")

    assert "resource" not in of_url.to_record()
    assert of_resource.to_record()["resource"] == "aspose-ocr-cyrillic-v1"
    assert [PullRequest.from_record(each.to_record()) for each in (of_url, of_resource)] == [of_url, of_resource]
