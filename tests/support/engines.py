"""Engines for real children that misbehave the way the vendor's native code does, on demand.

The real AsposeAI is used wherever it can be made to do what a test needs; it cannot be made to abort, hang, flood or
break the protocol to order, and that is what these are for.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.support import misbehaviour

# Everything that a test must be able to change between one process and the next is told through the environment's
# one door that is left open: the model folder, where `<option>.option` files lie.
MODELS = "Aspose.AI.LLM/models"


class Echo:
    """Behaves. The other engines change one thing each."""

    def start(self) -> None: ...

    def apply_license(self, path: str) -> None:
        message = f"{path} is no license"
        raise RuntimeError(message)

    def status(self) -> dict[str, Any]:
        local_path = os.path.realpath(MODELS)
        listed = sorted(name for name in os.listdir(local_path) if name.endswith(".gguf"))
        return {
            "vendor_package": "echo",
            "vendor_version": "1.0",
            "is_licensed": False,
            "local_path": local_path,
            "list_local": [f"{MODELS}/{name}" for name in listed],
            "recognised": listed,
            "is_initialized": False,
            "capabilities": [{"name": "models", "available": True, "reason": None}],
        }

    def free_resources(self) -> None: ...

    def echo(self, text: str) -> str:
        return text

    def fail(self, message: str) -> None:
        raise RuntimeError(message)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def hold_gil(self, seconds: float) -> None:
        """Hold the GIL like the vendor's calls: PyDLL does not release it."""
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))

    def abort(self) -> None:
        """Die like .NET's FailFast."""
        print("No usable version of libssl was found", file=sys.stderr, flush=True)
        os.abort()

    def flood(self, lines: int) -> None:
        for number in range(lines):
            print(f"flood {number} " + "x" * 80, file=sys.stderr)

    def say_nonsense(self) -> None:
        """Write on the protocol's own socket what is no message."""
        os.write(int(sys.argv[1]), b"nonsense\n")

    def close_socket(self) -> None:
        """Close the socket and live on."""
        os.close(int(sys.argv[1]))
        time.sleep(60)

    def load(self, processor: str, model: str) -> None:
        if not Path(MODELS, model).stat().st_size:
            message = "Failed to load model"
            raise RuntimeError(message)

    def process(self, text: str, parameters: dict[str, Any]) -> str:
        """Answer in capitals, or do what the text says: `sleep:1`, `hold_gil:60`, `fail:why`, `abort:`."""
        name, colon, argument = text.partition(":")
        if not colon:
            return text.upper()
        if name == "abort":
            self.abort()
        getattr(self, name)(argument if name == "fail" else float(argument))
        return text

    def environment(self) -> dict[str, str]:
        return dict(os.environ)


class IgnoresTerm(Echo):
    """Neither SIGTERM nor the end of its socket ends it."""

    def start(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def free_resources(self) -> None:
        time.sleep(60)


class ExitsAtStart(Echo):
    """Ends before it answers anything, with a reason on stderr."""

    def __init__(self) -> None:
        print("no engine for you", file=sys.stderr)
        sys.exit(3)


class NeverAnswers(Echo):
    """Hangs in its first call."""

    def start(self) -> None:
        time.sleep(60)


class DiesOfLicense(Echo):
    """Aborts while it reads a license file, as AsposeAI does where OpenSSL 1.1 is missing."""

    def apply_license(self, path: str) -> None:
        self.abort()


class LooksElsewhere(Echo):
    """Has its models in another folder."""

    def status(self) -> dict[str, Any]:
        return super().status() | {"local_path": "/somewhere/else"}


class SlowToFree(Echo):
    """Takes a second to free its resources."""

    def free_resources(self) -> None:
        self.hold_gil(1)


class HangsInFree(Echo):
    """Holds the GIL when it is asked to free its resources, and does not come back."""

    def free_resources(self) -> None:
        self.hold_gil(60)


class LacksAi(Echo):
    """Says that it cannot load a model."""

    def status(self) -> dict[str, Any]:
        return super().status() | {"capabilities": [{"name": "ai", "available": False, "reason": "no libllama.so"}]}


class Reads(Echo):
    """Is asked to read an image, and does what the image says instead."""

    def recognise(self, image: str, **_asked: object) -> Any:
        name, _, argument = Path(image).read_text().partition(" ")
        if name == "nap":
            self.sleep(float(argument))
        if name in {"read", "nap"}:
            page: dict[str, Any] = {
                "number": 1,
                "width": 1,
                "height": 1,
                "text": argument,
                "skew_degrees": None,
                "lines": [],
                "table": "a\tb",
            }
            pages = [page | {"truncated_by_evaluation": False}]
            Path(image).with_name("pages.json").write_text(json.dumps(pages))
            return {"seconds": 0.1, "document": None}
        return getattr(self, name)(*map(float, argument.split()))


class Refuses(Echo):
    """Is asked to read an image, and answers what the image says."""

    def recognise(self, image: str, **_asked: object) -> Any:
        return json.loads(Path(image).read_bytes())


class Misbehaves(Echo):
    """Says and does what `tests.support.misbehaviour` has, instead of an answer; its status is what it is told."""

    def status(self) -> dict[str, Any]:
        told = Path(MODELS, "status.option")
        return super().status() | (json.loads(told.read_bytes()) if told.exists() else {})

    def misbehave(self, case: str, call_id: int) -> None:
        misbehaviour.do(case, call_id, int(sys.argv[1]))

    def return_an_object(self) -> object:
        return object()

    def process(self, text: str, parameters: dict[str, Any]) -> Any:
        """Answer with what is no text."""
        return json.loads(text)
