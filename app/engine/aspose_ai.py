"""AsposeAI as the worker serves it. The only module that imports the vendor; nobody imports this one.

What the vendor's calls really do, as measured with aspose-ocr-python-net 26.10.0, is in docs/engine.md.
"""

import importlib.metadata
import re
from pathlib import Path
from typing import Any

from aspose.ocr import License
from aspose.ocr.ai import (
    AsposeAI,
    AsposeAIModelConfig,
    KeywordsAIProcessor,
    NaturalLanguageQueryAIProcessor,
    SpellCheckAIProcessor,
)

from app.engine.processors import DEFAULT_MODEL, MAX_TEXT_BYTES, Processor
from app.engine.runtime import missing_for_ai, missing_for_recognition

DISTRIBUTION = "aspose-ocr-python-net"
PROCESSORS = {
    Processor.SPELL_CHECK: SpellCheckAIProcessor,
    Processor.KEYWORDS: KeywordsAIProcessor,
    Processor.QUERY: NaturalLanguageQueryAIProcessor,
}


class AsposeAIError(Exception):
    """What AsposeAI says in a .NET exception, as a sentence."""


class AsposeAIEngine:
    """One long-lived AsposeAI and its license. Every method blocks, with the GIL held."""

    def __init__(self) -> None:
        self._ai: AsposeAI | None = None
        self._processor: Any = None

    def apply_license(self, path: str) -> None:
        """Apply a license file. Raises RuntimeError when it is missing or no license.

        The vendor verifies it with OpenSSL 1.1 and aborts the process where that is missing, so ask before.
        """
        if reason := missing_for_recognition():
            msg = f"the license file {path} was not read: {reason}"
            raise RuntimeError(msg)
        License().set_license(path)

    def start(self) -> None:
        """Build the instance, after the license: a license applied later would not count."""
        self._ai = AsposeAI()

    def status(self) -> dict[str, Any]:
        """Everything `app.engine.messages.Facts` holds, in one call of about a millisecond."""
        ai = self._started()
        local_path = Path(ai.get_local_path())
        # The vendor raises when the folder is gone, which is the store's to report.
        listed = [str(path) for path in ai.list_local()] if local_path.is_dir() else []
        return {
            "vendor_package": DISTRIBUTION,
            "vendor_version": importlib.metadata.version(DISTRIBUTION),
            "is_licensed": bool(License().is_licensed),
            "local_path": str(local_path.resolve()),
            "list_local": listed,
            "recognised": [Path(path).relative_to(local_path).as_posix() for path in listed],
            "is_initialized": bool(ai.is_initialized()),
            "capabilities": [
                _capability("models", None),
                _capability("ai", missing_for_ai()),
                _capability("recognition", missing_for_recognition()),
            ],
        }

    def load(self, processor: str, model: str) -> None:
        """Load a model, for one processor. Once: a second load would map the model a second time.

        Raises AsposeAIError. A model other than the default counts only with a licence.
        """
        if self._processor is not None:
            msg = "this process has loaded a model already"
            raise AsposeAIError(msg)
        if reason := missing_for_ai():
            raise AsposeAIError(reason)
        ai, made, config = self._started(), PROCESSORS[Processor(processor)](), AsposeAIModelConfig()
        config.allow_auto_download = False
        if model != DEFAULT_MODEL:
            config.file_model_path = str(Path(ai.get_local_path(), model).absolute())
        try:
            ai.set_post_processor(made, config)
        except RuntimeError as exc:
            raise AsposeAIError(_sentence(exc)) from exc
        self._processor = made

    def process(self, text: str, keywords: list[str], question: str) -> str:
        """Run the loaded processor on one text and return its answer. Raises AsposeAIError.

        AsposeAI takes several at once too, but gives no answer for an empty one, and none at all when one fails.
        """
        if isinstance(self._processor, KeywordsAIProcessor):
            self._processor.set_keywords(keywords)
        if isinstance(self._processor, NaturalLanguageQueryAIProcessor):
            self._processor.set_query(question)
        try:
            self._started().run_postprocessor([text])
        except RuntimeError as exc:
            raise AsposeAIError(_sentence(exc)) from exc
        answer = "".join(str(each.result) for each in self._processor.get_result())
        if len(answer.encode()) > MAX_TEXT_BYTES:
            msg = f"the model's answer is longer than {MAX_TEXT_BYTES} bytes"
            raise AsposeAIError(msg)
        return answer

    def free_resources(self) -> None:
        """Call the vendor's `free_resources()`. It frees no memory: only the end of this process does."""
        self._started().free_resources()

    def _started(self) -> AsposeAI:
        if self._ai is None:
            msg = "the engine was not started"
            raise RuntimeError(msg)
        return self._ai


def _capability(name: str, missing: str | None) -> dict[str, Any]:
    return {"name": name, "available": missing is None, "reason": missing}


def _sentence(exc: RuntimeError) -> str:
    """The first line without .NET's wrapping: 'Proxy error(AggregateException): ... (what happened) ---> ...'."""
    first = str(exc).partition(" --->")[0].partition("\n")[0].partition("): ")[2] or str(exc)
    return re.sub(r"^One or more errors occurred\. \((.*)\)$", r"\1", first.strip())
