"""Writes the SBOM (CycloneDX 1.6, JSON) of the packages and the native libraries that the image has.

    python deploy/make_sbom.py PYTHON_OF_THE_PACKAGES REQUIREMENTS_LOCK NATIVE_FOLDER FILE

The Dockerfile runs it with the Python that has `cyclonedx-bom` (requirements-sbom.lock). `cyclonedx-py` reads the
installed packages with their licences, and the digests of their archives from the lock file. A package that is
installed and not in the lock file ends the program with status 1. Two runs on equal inputs write the same bytes. The
packages of the base image are not part of it.
"""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

NAME = "ocr-model-service"
ECOSYSTEMS = {"openssl": "pkg:deb/debian/{package}@{version}", "llama": "pkg:npm/{package}@{version}"}
"""The package URL of a native library, by the name of its folder."""


def make(python: str, lock: str, native: Path, version: str) -> dict[str, Any]:
    """Return the SBOM."""
    sbom = _cyclonedx("environment", "--short-PURLs", python)
    locked = {_key(each): each for each in _cyclonedx("requirements", lock)["components"]}
    if missing := [_key(each) for each in sbom["components"] if _key(each) not in locked]:
        sys.exit(f"installed but not in {lock}: {missing}")
    for component in sbom["components"]:
        digests = [each for each in locked[_key(component)].get("externalReferences", ()) if each.get("hashes")]
        component.setdefault("externalReferences", []).extend(digests)
    for path in sorted(native.glob("*/manifest.json")):
        sbom["components"] += _native_packages(json.loads(path.read_text()))
    sbom["metadata"]["component"] = {"type": "application", "bom-ref": NAME, "name": NAME, "version": version}
    uses = sorted(component["bom-ref"] for component in sbom["components"])
    sbom["dependencies"].append({"ref": NAME, "dependsOn": uses})
    return sbom


def _cyclonedx(*arguments: str) -> dict[str, Any]:
    """Run `cyclonedx-py` and return its document."""
    program = Path(sys.executable).parent / "cyclonedx-py"
    options = ("--spec-version", "1.6", "--output-reproducible")
    done = subprocess.run([program, *arguments, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"cyclonedx-py {' '.join(arguments)}: {done.stderr}")
    return dict(json.loads(done.stdout))


def _key(component: dict[str, Any]) -> tuple[str, str]:
    """Return the name and version of a package, as PyPI compares them."""
    return component["name"].lower().replace("_", "-").replace(".", "-"), component["version"]


def _native_packages(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a component for each package of a folder of native libraries, from the manifest of its provisioning."""
    components = []
    for pin in (manifest, *manifest.get("further_packages", ())):
        name = pin["package"].replace("@", "%40")
        purl = ECOSYSTEMS[manifest["name"]].format(package=name, version=pin["version"])
        components.append(
            {
                "type": "library",
                "bom-ref": purl,
                "name": pin["package"],
                "version": pin["version"],
                "purl": purl,
                "hashes": [{"alg": "SHA-256", "content": pin["sha256"]}],
                "licenses": [{"license": {"name": manifest["licence"]}}],
            }
        )
    return components


def main() -> None:
    """Write the SBOM to the file that the command line names."""
    python, lock, native, target = sys.argv[1:]
    version = str(runpy.run_path("app/__init__.py")["__version__"])
    Path(target).write_text(json.dumps(make(python, lock, Path(native), version), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
