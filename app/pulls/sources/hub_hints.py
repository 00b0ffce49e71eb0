"""What a user can do when the hub refuses or lacks a repository."""

from app.fetching.http_client import Hints

HUB_HINTS = Hints(
    not_found="Check its spelling and the revision",
    refused="A private or gated repository needs an OCR_HUB_TOKEN whose owner has access to it; the answer for a "
    "repository that does not exist may be the same",
)
"""The hints for repositories of the hub, used when its files are listed and when they are downloaded."""
