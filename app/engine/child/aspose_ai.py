"""The engine that the worker serves: AsposeAI.

Only this module and those named `aspose_...` import the vendor's package. The worker gets the name of this module and
imports it. docs/engine.md describes what the vendor's calls really do, measured with aspose-ocr-python-net 26.10.0.
"""

import importlib.metadata
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from aspose.ocr import License, OcrOutput
from aspose.ocr.ai import (
    AITableDetectionMode,
    AsposeAI,
    AsposeAIModelConfig,
    KeywordsAIProcessor,
    NaturalLanguageQueryAIProcessor,
    SpellCheckAIProcessor,
    TableAIProcessor,
)

from app.engine.child import aspose_ocr, aspose_ocr_models
from app.engine.contract.messages import CapabilityName
from app.engine.contract.processors import (
    DEFAULT_MODEL,
    MAX_TEXT_BYTES,
    Processor,
    is_beyond_spell_check,
    lines_beyond_spell_check,
)
from app.engine.contract.recognition_call import ImageLimits, RecognitionOptions
from app.engine.native.gpus import FoundGpus, GpuBuild, build_in, find_gpus
from app.engine.native.libraries import LLAMA, missing_for_ai, missing_for_recognition
from app.errors import ImageError

DISTRIBUTION = "aspose-ocr-python-net"
PROCESSORS = {
    Processor.SPELL_CHECK: SpellCheckAIProcessor,
    Processor.KEYWORDS: KeywordsAIProcessor,
    Processor.QUERY: NaturalLanguageQueryAIProcessor,
}
SETTERS = {"keywords": "set_keywords", "question": "set_query"}
"""By the name of a processor's parameter, the vendor's method that sets the parameter."""


class AsposeAIError(Exception):
    """AsposeAI cannot do the call. The message is one sentence, usually the message of the .NET exception."""


class AsposeAIEngine:
    """One AsposeAI instance and its license, for the life of the process. Every method blocks and holds the GIL."""

    def __init__(self) -> None:
        self._ai: AsposeAI | None = None
        self._processor: Any = None
        self._gpu_build: GpuBuild | None = None
        self._gpus = FoundGpus(())
        self._tables: tuple[AsposeAI, TableAIProcessor] | None = None
        self._finds_ocr_models = False
        """Whether the vendor was told to look for OCR models in the model folder."""

    def apply_license(self, path: str) -> None:
        """Apply a license file. Raises RuntimeError if the file is missing or is not a license.

        The vendor's library verifies the file with OpenSSL 1.1 and aborts the process if OpenSSL is missing, so this
        method first checks for OpenSSL.
        """
        if reason := missing_for_recognition():
            msg = f"the license file {path} was not read: {reason}"
            raise RuntimeError(msg)
        License().set_license(path)

    def start(self) -> None:
        """Create the AsposeAI instance, find the GPUs, and let the vendor find OCR models in the model folder.

        Call `apply_license` before this method: a license that is applied later does not change the instance.
        """
        self._ai = AsposeAI()
        if build := build_in(LLAMA):
            self._gpu_build, self._gpus = build, find_gpus(build)
        self._finds_ocr_models = aspose_ocr_models.use_folder(self._models_dir())

    def status(self) -> dict[str, Any]:
        """Return the fields of `app.engine.contract.messages.EngineFacts`. Takes about a millisecond."""
        ai = self._started()
        local_path = Path(ai.get_local_path())
        # list_local() raises if the folder is gone; the store reports that.
        listed = [str(path) for path in ai.list_local()] if local_path.is_dir() else []
        resources = aspose_ocr_models.listed(self._models_dir())
        return {
            "vendor_package": DISTRIBUTION,
            "vendor_version": importlib.metadata.version(DISTRIBUTION),
            "is_licensed": bool(License().is_licensed),
            "local_path": str(local_path.resolve()),
            "list_local": listed,
            "resources_list_local": resources,
            "recognised": [
                *(Path(path).relative_to(local_path).as_posix() for path in listed),
                *aspose_ocr_models.model_names(resources),
            ],
            "is_initialized": bool(ai.is_initialized()),
            "capabilities": [
                _capability(CapabilityName.MODELS, None),
                _capability(CapabilityName.AI, missing_for_ai()),
                _capability(CapabilityName.RECOGNITION, missing_for_recognition()),
                *([_capability(CapabilityName.GPU, self._gpus.reason)] if self._gpu_build else []),
            ],
            "runtime": {
                "build": self._gpu_build.name.lower() if self._gpu_build else "cpu",
                "gpus": list(self._gpus.devices),
            }
            if LLAMA.is_dir()
            else None,
        }

    def load(self, processor: str, model: str, gpu_layers: int | None = None, context_size: int | None = None) -> None:
        """Load a model for a processor. Raises AsposeAIError if the load fails, and for a second load.

        A second load would map the model twice.

        Without a licence AsposeAI ignores the model's name and loads its default model. `gpu_layers` and `context_size`
        are fields of `app.engine.contract.model_config.ModelConfig`.
        """
        if self._processor is not None:
            msg = "this process has loaded a model already"
            raise AsposeAIError(msg)
        if reason := missing_for_ai():
            raise AsposeAIError(reason)
        ai, made, config = self._started(), PROCESSORS[Processor(processor)](), AsposeAIModelConfig()
        config.allow_auto_download = False
        if gpu_layers and not self._gpus.devices:
            why = self._gpus.reason or "the provisioned build of llama.cpp is for the CPU"
            sys.stderr.write(f"OCR_ENGINE_GPU_LAYERS has no effect: {why}\n")
        config.gpu_layers, config.context_size = gpu_layers, context_size
        if model != DEFAULT_MODEL:
            config.file_model_path = str(Path(ai.get_local_path(), model).absolute())
        try:
            ai.set_post_processor(made, config)
        except RuntimeError as exc:
            raise AsposeAIError(_sentence(exc)) from exc
        self._processor = made

    def process(self, text: str, parameters: dict[str, Any]) -> str:
        """Run the loaded processor on one text and return its answer. Raises AsposeAIError.

        AsposeAI also takes a list of texts, but skips empty texts, and gives no answer for any text if one text fails.
        """
        for name, value in parameters.items():
            getattr(self._processor, SETTERS[name])(value)
        is_mixed = isinstance(self._processor, SpellCheckAIProcessor) and lines_beyond_spell_check(text)
        answer = self._corrected_by_runs(text) if is_mixed else self._answer_to(text)
        if len(answer.encode()) > MAX_TEXT_BYTES:
            msg = f"the model's answer is longer than {MAX_TEXT_BYTES} bytes"
            raise AsposeAIError(msg)
        return answer

    def _corrected_by_runs(self, text: str) -> str:
        """Correct the lines that the spell check can take, and keep the other lines. Each line gets a line end.

        Each run of consecutive lines that the spell check can take is one call. The correction of one line may have
        several lines, so one call for the whole text would not show where the other lines belong in the answer.
        """
        lines = text.removesuffix("\n").split("\n")
        runs = groupby(lines, key=lambda line: not line or is_beyond_spell_check(line))
        return "".join("\n".join([*run, ""]) if is_kept else self._answer_to("\n".join(run)) for is_kept, run in runs)

    def _answer_to(self, text: str) -> str:
        try:
            self._started().run_postprocessor([text])
        except RuntimeError as exc:
            raise AsposeAIError(_sentence(exc)) from exc
        return "".join(str(each.result) for each in self._processor.get_result())

    def recognise(
        self, image: str, options: dict[str, Any], limits: dict[str, int], password: str | None = None
    ) -> dict[str, Any]:
        """Recognise an image; write the pages, and the document if requested, beside the image.

        Returns `seconds` and `document` (a file name) after a success. If a library is missing, returns `lacks` (the
        name of the missing capability) and `reason`. If the image is refused, returns `refused` and `facts`: the class
        name and the facts of an ImageError.
        """
        wanted = RecognitionOptions.from_fields(options)
        if reason := missing_for_recognition():
            return {"lacks": CapabilityName.RECOGNITION, "reason": reason}
        if wanted.tables and (reason := missing_for_ai()):
            return {"lacks": CapabilityName.AI, "reason": reason}
        try:
            if not self._finds_ocr_models:  # the folder was missing before; else it is not touched, as it may hang
                self._finds_ocr_models = aspose_ocr_models.use_folder(self._models_dir())
            return aspose_ocr.recognise(Path(image), wanted, ImageLimits(**limits), self._tables_in, password)
        except ImageError as exc:
            return {"refused": type(exc).__name__, "facts": exc.facts}

    def free_resources(self) -> None:
        """Call the vendor's `free_resources()`, which frees no memory: only the end of this process frees memory."""
        self._started().free_resources()

    def _tables_in(self, output: OcrOutput) -> list[str]:
        """Return each page as a table, by the vendor's mode NONE. Other modes need a file that the package lacks."""
        if self._tables is None:
            config = AsposeAIModelConfig()
            config.allow_auto_download = False
            # A separate AsposeAI: in `self._ai`, this processor would silently replace the loaded processor.
            self._tables = AsposeAI(), TableAIProcessor(AITableDetectionMode.NONE)
            self._tables[0].set_post_processor(self._tables[1], config)
        ai, processor = self._tables
        ai.run_postprocessor(output)
        return [str(each.result) for each in processor.get_result()]

    def _models_dir(self) -> Path:
        return Path(self._started().get_local_path()).resolve()

    def _started(self) -> AsposeAI:
        if self._ai is None:
            msg = "the engine was not started"
            raise RuntimeError(msg)
        return self._ai


def _capability(name: CapabilityName, missing: str | None) -> dict[str, Any]:
    return {"name": name, "available": missing is None, "reason": missing}


def _sentence(exc: RuntimeError) -> str:
    """Return the message of a .NET exception without its wrapping 'Proxy error(AggregateException): ... ---> ...'."""
    first = str(exc).partition(" --->")[0].partition("\n")[0].partition("): ")[2] or str(exc)
    return re.sub(r"^One or more errors occurred\. \((.*)\)$", r"\1", first.strip())
