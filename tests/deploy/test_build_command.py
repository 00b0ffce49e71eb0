"""`make image` dates the image by its commit, in the way that each build program understands."""

import subprocess

import pytest

from tests.support.service import ROOT


def command(*variables: str) -> str:
    """Return the command that `make image` would run."""
    done = subprocess.run(["make", "-n", "image", *variables], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.replace("\\\n", " ")


@pytest.mark.parametrize(
    ("program", "option"),
    [
        ("docker", "--build-arg SOURCE_DATE_EPOCH="),
        ("/usr/bin/docker", "--build-arg SOURCE_DATE_EPOCH="),
        ("sudo docker", "--build-arg SOURCE_DATE_EPOCH="),
        ("podman", "--timestamp="),
        ("env BUILDAH_FORMAT=docker podman", "--timestamp="),
        ("buildah", "--timestamp="),
    ],
)
def test_the_image_has_the_time_of_its_commit(program: str, option: str) -> None:
    """Docker gets the time as a build argument, podman and buildah as an option."""
    assert f" {option}$(git show --no-patch --format=%ct HEAD) ." in command(f"DOCKER={program}")


def test_a_release_uses_no_layer_of_another_commit() -> None:
    """A release is built without the cache, whose layers have the times of other commits."""
    assert " --no-cache " in command("RELEASE=true")
    assert " --no-cache " not in command()
