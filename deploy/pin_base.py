"""Looks up the digest of the base image and writes it to the Dockerfile: `make pin-base`.

    python deploy/pin_base.py [NAME:TAG]

The default is the image that the Dockerfile names, without its digest. skopeo or Docker asks the registry.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCKERFILE = Path(__file__).resolve().parents[1] / "Dockerfile"
ARGUMENT = re.compile(r"^ARG PYTHON_IMAGE=(?P<name>[^\s@]+)(@sha256:[0-9a-f]{64})?$", re.MULTILINE)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(name: str) -> str:
    """Return the digest of an image by name and tag, as its registry has it now. Exits with 1 if it is not to be had.

    For an image of several platforms it is the digest of the list of all.
    """
    if shutil.which("skopeo"):
        command = ["skopeo", "inspect", "--format", "{{.Digest}}", f"docker://{_with_registry(name)}"]
    elif shutil.which("docker"):
        command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", name]
    else:
        sys.exit("Neither skopeo nor docker is installed: install one of them to ask the registry for the digest.")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    digest = done.stdout.strip().strip('"')
    if done.returncode or not DIGEST.fullmatch(digest):
        sys.exit(f"{' '.join(command)} gave no digest: {done.stderr or done.stdout}")
    return digest


def _with_registry(name: str) -> str:
    """Return the full name of an image: Docker adds the registry and the path of official images, skopeo does not."""
    first, _, rest = name.partition("/")
    if not rest:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"


def main() -> None:
    """Pin the base image, and print the line."""
    text = DOCKERFILE.read_text()
    found = ARGUMENT.search(text)
    if found is None:
        sys.exit(f"{DOCKERFILE} has no line ARG PYTHON_IMAGE=name:tag")
    name = sys.argv[1] if len(sys.argv) > 1 else found["name"]
    line = f"ARG PYTHON_IMAGE={name}@{digest_of(name)}"
    DOCKERFILE.write_text(text[: found.start()] + line + text[found.end() :])
    print(line)


if __name__ == "__main__":
    main()
