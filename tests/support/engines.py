"""Engines for real child processes that fail on request in the ways in which the vendor's native code fails.

Tests use the real AsposeAI wherever they can. These engines are for aborts, hangs, floods and broken messages, which
AsposeAI does not produce on request.
"""

import atexit
import ctypes
import json
import mmap
import os
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.support.defects import misbehaviour

# A test changes an engine's behaviour between two processes by files `<option>.option` in the model folder, because an
# engine process inherits no environment variables of the test.
MODELS = "Aspose.AI.LLM/models"


class Echo:
    """An engine that behaves. The other engines are subclasses that change one thing each."""

    def start(self) -> None: ...

    def apply_license(self, path: str) -> None:
        message = f"{path} is no license"
        raise RuntimeError(message)

    def status(self) -> dict[str, Any]:
        local_path = os.path.realpath(MODELS)
        listed = sorted(name for name in os.listdir(local_path) if name.endswith(".gguf"))
        resources = sorted(name for name in os.listdir(local_path) if name.endswith(".ocr"))
        return {
            "vendor_package": "echo",
            "vendor_version": "1.0",
            "is_licensed": False,
            "local_path": local_path,
            "list_local": [f"{MODELS}/{name}" for name in listed],
            "resources_list_local": [name.removesuffix(".ocr") for name in resources],
            "recognised": listed + resources,
            "is_initialized": False,
            "capabilities": [{"name": "models", "available": True, "reason": None}],
            "runtime": None,
        }

    def free_resources(self) -> None: ...

    def echo(self, text: str) -> str:
        return text

    def fail(self, message: str) -> None:
        raise RuntimeError(message)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait_for(self, path: str) -> None:
        """Work until there is a file at a path, so that the test decides when the call ends."""
        while not Path(path).exists():
            time.sleep(0.01)

    def hold(self, begun: str) -> None:
        """Create the file `begun`, so that the test knows that the call runs, and hold the GIL for a minute."""
        self.hold_gil(60, begun)

    def hold_gil(self, seconds: float, begun: str | None = None) -> None:
        """Create the file `begun`. Hold the GIL, as the vendor's calls do: a PyDLL call does not release the GIL."""
        if begun:
            Path(begun).touch()
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))

    def abort(self) -> None:
        """Abort with a message, as .NET's FailFast does."""
        print("No usable version of libssl was found", file=sys.stderr, flush=True)
        os.abort()

    def grow(self, bytes_a_step: float, pause: float = 0.02) -> None:
        """Take more memory in steps, without an end, until none is left."""
        taken = []
        while True:
            taken.append(b"x" * int(bytes_a_step))
            time.sleep(pause)

    def grow_natively(self, bytes_a_step: int, pause: float) -> None:
        """Take memory as `grow` does, and abort as C++ does if `new` gets no memory."""
        try:
            self.grow(bytes_a_step, pause)
        except MemoryError:
            print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr, flush=True)
            os.abort()

    def keep(self, size: int, seconds: float) -> None:
        """Take memory, keep it after the call, and work for some seconds."""
        self._kept = [*getattr(self, "_kept", []), b"x" * size]
        time.sleep(seconds)

    def flood(self, lines: int) -> None:
        for number in range(lines):
            print(f"flood {number} " + "x" * 80, file=sys.stderr)

    def say_nonsense(self) -> None:
        """Write an invalid message to the socket of the protocol."""
        os.write(int(sys.argv[1]), b"nonsense\n")

    def close_socket(self) -> None:
        """Close the socket of the protocol and keep the process alive for a minute."""
        os.close(int(sys.argv[1]))
        time.sleep(60)

    def load(self, processor: str, model: str, **_config: object) -> None:
        if not Path(MODELS, model).stat().st_size:
            message = "Failed to load model"
            raise RuntimeError(message)

    def process(self, text: str, parameters: dict[str, Any]) -> str:
        """Return the text in capitals, or do what the text says: `sleep:1`, `grow:1000000`, `fail:why`, `abort:`.

        `wait_for:/path` works until there is a file at the path; `hold:/path` creates the file and never ends.
        """
        name, colon, argument = text.partition(":")
        if not colon:
            return text.upper()
        if name == "abort":
            self.abort()
        getattr(self, name)(argument if name in {"fail", "wait_for", "hold"} else float(argument))
        return text

    def environment(self) -> dict[str, str]:
        return dict(os.environ)


class TellsConfig(Echo):
    """An engine that, instead of working on a text, returns with which configuration its model was loaded."""

    def load(self, processor: str, model: str, **config: object) -> None:
        self._config = config

    def process(self, text: str, parameters: dict[str, Any]) -> str:
        return json.dumps(self._config)


class IgnoresTerm(Echo):
    """An engine that ends neither at SIGTERM nor when its socket is closed."""

    def start(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def free_resources(self) -> None:
        time.sleep(60)


class ExitsAtStart(Echo):
    """An engine that exits before its first answer, with a reason on stderr."""

    def __init__(self) -> None:
        print("no engine for you", file=sys.stderr)
        sys.exit(3)


class Loud(Echo):
    """An engine that prints as native code does: on both outputs, without line ends, and what is not UTF-8."""

    def start(self) -> None:
        os.write(1, b"{not JSON\n\xff\xfe\n")
        os.write(2, b"\n\x1b[31mwarning\x1b[0m\r\nwithout an end")


class NeverAnswers(Echo):
    """An engine that hangs in its first call."""

    def start(self) -> None:
        time.sleep(60)


class DiesOfLicense(Echo):
    """An engine that aborts while it reads a license file, as AsposeAI does without OpenSSL 1.1."""

    def apply_license(self, path: str) -> None:
        self.abort()


class LooksElsewhere(Echo):
    """An engine whose status names another model folder."""

    def status(self) -> dict[str, Any]:
        return super().status() | {"local_path": "/somewhere/else"}


class SlowToFree(Echo):
    """An engine that takes two seconds to free its resources."""

    def free_resources(self) -> None:
        self.hold_gil(2)


class SlowToEnd(Echo):
    """An engine whose process takes two seconds to end after it has freed its resources."""

    def free_resources(self) -> None:
        atexit.register(time.sleep, 2)


class HangsInFree(Echo):
    """An engine that holds the GIL for a minute when it should free its resources."""

    def free_resources(self) -> None:
        self.hold_gil(60)


class LacksAi(Echo):
    """An engine whose status reports that it cannot load models."""

    def status(self) -> dict[str, Any]:
        return super().status() | {"capabilities": [{"name": "ai", "available": False, "reason": "no libllama.so"}]}


class Reads(Echo):
    """An engine that, instead of recognising an image, does what the image's text says, such as `abort`.

    For `options` it returns the options of the call, as JSON.
    """

    def recognise(self, image: str, **asked: Any) -> Any:
        name, _, argument = Path(image).read_text().partition(" ")
        if name == "options":
            name, argument = "read", json.dumps(asked["options"])
        if name == "nap":
            self.sleep(float(argument))
        if name == "wait_for":
            self.wait_for(argument)
        if name in {"read", "nap", "wait_for"}:
            page: dict[str, Any] = {
                "number": 1,
                "source": None,
                "width": 1,
                "height": 1,
                "text": argument,
                "skew_degrees": None,
                "lines": [],
                "table": "a\tb",
                "warnings": [],
            }
            pages = [page | {"truncated_by_evaluation": False}]
            Path(image).with_name("pages.json").write_text(json.dumps(pages))
            save_as = asked["options"]["save_as"]
            document = f"document.{save_as}" if save_as else None
            if document:
                Path(image).with_name(document).write_text(argument)
            return {"seconds": 0.1, "document": document}
        if name == "hold":
            self.hold(argument)
        return getattr(self, name)(*map(float, argument.split()))


class OpensOcrModels(Reads):
    """An engine that opens the OCR models that the image names, since no real OCR model can be had for tests."""

    def __init__(self) -> None:
        self._opened: list[object] = []

    def recognise(self, image: str, **asked: object) -> Any:
        """Do what the image says: `open` or `map` a file and keep it so, or `wait` until `go.option` is there.

        `hold` opens a file, waits, and closes the file.
        """
        name, _, argument = Path(image).read_text().partition(" ")
        if name in {"open", "map"}:
            file = Path(MODELS, argument).open("rb")  # noqa: SIM115 - kept open, as native code may keep it
            self._opened.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if name == "map" else file)
        with Path(MODELS, argument).open("rb") if name == "hold" else nullcontext():
            while name in {"wait", "hold"} and not Path(MODELS, "go.option").exists():
                time.sleep(0.02)
        if name in {"open", "map", "wait", "hold"}:
            Path(image).write_text("read done")
        return super().recognise(image, **asked)


class Refuses(Echo):
    """An engine that, instead of recognising an image, returns the JSON in the image's bytes."""

    def recognise(self, image: str, **_asked: object) -> Any:
        return json.loads(Path(image).read_bytes())


class Misbehaves(Echo):
    """An engine that does one case of `tests.support.defects.misbehaviour`, and whose status a file can change."""

    def status(self) -> dict[str, Any]:
        told = Path(MODELS, "status.option")
        return super().status() | (json.loads(told.read_bytes()) if told.exists() else {})

    def misbehave(self, case: str, call_id: int) -> None:
        misbehaviour.do(case, call_id, int(sys.argv[1]))

    def return_an_object(self) -> object:
        return object()

    def process(self, text: str, parameters: dict[str, Any]) -> Any:
        """Return the JSON value in the text, which need not be a text."""
        return json.loads(text)
