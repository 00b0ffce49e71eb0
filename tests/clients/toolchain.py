"""The programs that generate clients, check their types and run them, and the packages from npm that these need."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.clients import npm
from tests.support.service import ROOT

PACKAGES = {
    "@hey-api/openapi-ts": "0.95.0",
    "@types/node": "20.19.43",
    "openapi-fetch": "0.17.0",
    "openapi-typescript": "7.13.0",
    "tus-js-client": "4.3.1",
    "typescript": "5.9.3",  # the generators do not run with TypeScript 7
}
"""The packages from npm, with their versions."""
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Options of Java that halve the time of a program that ends after seconds."""
MYPY = """
[mypy]
strict = true
# What openapi-generator writes has functions without annotations.
[mypy-ocr_client.*]
disallow_incomplete_defs = false
disallow_untyped_calls = false
disallow_untyped_defs = false
implicit_reexport = true
warn_return_any = false
# The module that openapi-python-client writes without looking at the document has wrong types.
[mypy-ocr_client.client]
ignore_errors = true
[mypy-dateutil.*]
ignore_missing_imports = true
"""
TSCONFIG = {
    "compilerOptions": {
        "strict": True,
        "target": "es2022",
        "lib": ["es2023", "dom", "dom.iterable"],
        "module": "commonjs",
        "moduleResolution": "node10",
        "esModuleInterop": True,
        "skipLibCheck": True,
        "types": ["node"],
    },
    "include": ["**/*.ts"],
}
PAGE = (ROOT / "docs" / "clients.md").read_text()
PROGRAMS = Path(__file__).with_name("programs")


@dataclass(frozen=True)
class Toolchain:
    """A folder with the packages from npm, and the variables that make programs find them."""

    node_modules: Path
    environment: dict[str, str]

    def run(self, folder: Path, *command: str, within: float = 600) -> str:
        """Run a command in a folder and return its output. Fails with the command's messages if it fails."""
        done = subprocess.run(
            command,
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def generate(self, heading: str, url: str, folder: Path) -> None:
        """Run the command below a heading of docs/clients.md in a folder, for the service at a URL."""
        found = re.search(rf"^### {re.escape(heading)}\n.*?^```console\n\$ (.*?)\n```", PAGE, re.DOTALL | re.MULTILINE)
        assert found, f"docs/clients.md has no command below '### {heading}'"
        self.run(folder, "sh", "-c", found[1].replace("http://127.0.0.1:8000", url))

    def run_python(self, program: str, folder: Path, *arguments: str) -> list[str]:
        """Check the types of a program, and those of the client in the folder. Run it, and return its lines."""
        shutil.copy(PROGRAMS / program, folder)
        (folder / "mypy.ini").write_text(MYPY)
        self.run(folder, sys.executable, "-m", "mypy", program)
        return self.run(folder, sys.executable, program, *arguments).splitlines()

    def run_typescript(self, program: str, folder: Path, *arguments: str) -> list[str]:
        """Check the types of a program, and those of the client in the folder. Run it, and return its lines."""
        shutil.copy(PROGRAMS / program, folder)
        (folder / "tsconfig.json").write_text(json.dumps(TSCONFIG))
        (folder / "node_modules").symlink_to(self.node_modules)
        self.run(folder, "tsc", "--project", ".")
        return self.run(folder, "node", program.replace(".ts", ".js"), *arguments).splitlines()


def install(folder: Path) -> Toolchain:
    """Install the packages in a folder that several test processes may share."""
    modules = npm.install_with_node(folder, *(f"{name}@{version}" for name, version in PACKAGES.items()))
    # The generators for Python are beside the interpreter that runs the tests.
    environment = npm.environment(modules, Path(sys.executable).parent)
    return Toolchain(modules, environment | {"JAVA_TOOL_OPTIONS": JAVA})
