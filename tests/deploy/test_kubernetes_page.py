"""The commands of docs/kubernetes.md work, as far as they need no cluster, and the page says which were not tried."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api.http.keys import Keyring
from tests.deploy.files import of_kind
from tests.support.clients.consoles import steps
from tests.support.deployed import kubectl
from tests.support.fork_server import run_command
from tests.support.service import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
COMMANDS = [command for command, _ in steps(PAGE)]
UNTRIED = ("docker ", "kubectl apply ", "kubectl label ", "kubectl -n ocr rollout ", "kubectl -n ocr port-forward ")
"""How the commands begin that need Docker or a cluster."""
PYTHON = "python -m app "


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that is like the top of the checkout, with the files that a site brings."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(ROOT / "deploy", folder / "deploy")
    (folder / "Aspose.OCR.lic").write_text("<License/>")
    certificate = ["-newkey", "rsa:2048", "-x509", "-days", "1", "-nodes", "-subj", "/CN=ocr.example"]
    make = ["openssl", "req", *certificate, "-keyout", "tls.key", "-out", "tls.crt"]
    subprocess.run(make, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, Any]:
    """Run each command that needs no cluster, in the order of the page. Return what the commands make, by the command.

    kubectl makes namespaces and secrets without a server: `--dry-run=client` prints them.
    """
    results: dict[str, Any] = {}
    for command in COMMANDS:
        words = shlex.split(command)
        if command.startswith(PYTHON):
            plain, _, target = command.partition(" > ")
            environment = os.environ | {"PWD": str(folder)}
            file = str(folder / "keys.toml")
            done = run_command([file if word == "keys.toml" else word for word in shlex.split(plain)[3:]], environment)
            assert done.returncode == 0, done.stderr
            results[command] = done.stdout.strip()
            if target:
                (folder / target).write_text(done.stdout)
        elif words[0] == "kubectl" and ("create" in words or "kustomize" in words):
            more = ["--dry-run=client", "--output=yaml"] if "create" in words else []
            run = subprocess.run(
                [kubectl.kubectl(), *words[1:], *more], cwd=folder, capture_output=True, text=True, check=False
            )
            assert run.returncode == 0, f"{command}\n{run.stderr}"
            results[command] = list(yaml.safe_load_all(run.stdout))
        elif not command.startswith(UNTRIED):
            assert words[0] == "cp", f"the test does not know how to try: {command}"
            subprocess.run(words, cwd=folder, check=True)
    return results


def test_the_keys_are_in_the_file(made: dict[str, Any], folder: Path) -> None:
    """The key of each `keys create` is in the file of which the secret is made."""
    keys = [key for command, key in made.items() if command.startswith(PYTHON)]
    assert len(keys) == 2
    for key in keys:
        assert Keyring.load(folder / "keys.toml").find(key)
    assert (folder / "metrics-key").read_text().strip() == keys[1]


def test_the_secrets_are_those_that_the_manifests_name(made: dict[str, Any]) -> None:
    """The commands make the namespace, and every secret and entry that the pods, the Ingress and the monitor use."""
    site = next(result for command, result in made.items() if "kustomize" in command)
    created = [result[0] for command, result in made.items() if " create " in command and "kubectl" in command]
    namespace = of_kind("Namespace", site)["metadata"]["name"]
    assert of_kind("Namespace", created)["metadata"]["name"] == namespace
    secrets = {each["metadata"]["name"]: set(each["data"]) for each in created if each["kind"] == "Secret"}
    assert {each["metadata"]["namespace"] for each in created if each["kind"] == "Secret"} == {namespace}

    pod = of_kind("Deployment", site)["spec"]["template"]["spec"]
    settings = of_kind("ConfigMap", site)["data"]
    used = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    used |= {each["secretName"] for each in of_kind("Ingress", site)["spec"]["tls"]}
    credentials = of_kind("ServiceMonitor", site)["spec"]["endpoints"][0]["authorization"]["credentials"]
    assert set(secrets) == used | {credentials["name"]}
    assert credentials["key"] in secrets[credentials["name"]]
    assert Path(settings["OCR_API_KEYS_FILE"]).name in secrets["ocr-api-keys"]
    assert Path(settings["OCR_LICENSE_FILE"]).name in secrets["ocr-license"]


def test_the_page_says_which_commands_were_not_tried() -> None:
    """Each block of commands that the tests do not run follows a sentence that says so, and no other block does."""
    blocks = re.findall(r"([^\n]+)\n\n```console\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == PAGE.count("```console")
    for before, block in blocks:
        untried = [line.removeprefix("$ ").startswith(UNTRIED) for line in block.splitlines() if line.startswith("$ ")]
        paragraph = PAGE[: PAGE.index(f"{before}\n\n```console\n{block}")].rpartition("\n\n")[2] + before
        assert all(untried) if "not tried" in paragraph else not any(untried), block
