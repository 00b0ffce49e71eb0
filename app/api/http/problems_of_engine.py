"""Problems with the engine and with images."""

from app import errors
from app.api.http.problem_types import ProblemType
from app.engine.processors import DEFAULT_MODEL

OF_ENGINE = (
    ProblemType(
        errors.EngineNotReady("starting", "its process is starting"),
        503,
        "engine-not-ready",
        "The engine is not ready",
        ("state",),
        1,
    ),
    ProblemType(
        errors.EngineLacks("ai", "the native llama.cpp libraries are not installed"),
        501,
        "engine-lacks",
        "The engine cannot do this here",
        ("capability",),
    ),
    ProblemType(
        errors.ModelNotLicensed("org_repo/model.gguf", DEFAULT_MODEL),
        409,
        "model-not-licensed",
        "The model takes a licence",
        ("name", "allowed"),
    ),
    ProblemType(
        errors.EngineModelMissing(DEFAULT_MODEL),
        409,
        "engine-model-missing",
        "The engine's model is missing",
        ("name",),
    ),
    ProblemType(
        errors.ModelTooLarge(DEFAULT_MODEL, 2019377696, 1073741824),
        507,
        "model-too-large",
        "The model does not fit the engine's memory limit",
        ("name", "need_bytes", "limit_bytes"),
    ),
    ProblemType(
        errors.ModelDamaged(DEFAULT_MODEL, "the file ends inside its header, after 512 bytes"),
        422,
        "model-damaged",
        "The model's file is damaged",
        ("name", "reason"),
    ),
    ProblemType(errors.EngineBusy(7), 503, "engine-busy", "The engine's queue is full", ("waiting",), 5),
    ProblemType(
        errors.EngineCallFailed("RuntimeError: Proxy error(ArgumentException): the text is too long"),
        422,
        "engine-call-failed",
        "The engine could not do it",
        ("reason",),
    ),
    ProblemType(errors.EngineTimedOut("run_postprocessor", 60), 504, "engine-timed-out", "The engine took too long"),
    ProblemType(
        errors.EngineDied("killed by SIGABRT"), 502, "engine-died", "The engine's process ended", ("exit_reason",)
    ),
    ProblemType(errors.UnsupportedImage("image/webp"), 415, "unsupported-image", "The image's format is not read"),
    ProblemType(errors.UnreadableImage("it is empty"), 422, "image-unreadable", "The image cannot be read"),
    ProblemType(errors.ImageTooLarge("51 pages", "50 in one call"), 413, "image-too-large", "The image is too large"),
    ProblemType(errors.EncryptedPdf(), 422, "pdf-encrypted", "The PDF is encrypted"),
    ProblemType(errors.UnknownLanguage("elvish", "eng ita latin"), 422, "unknown-language", "No such language"),
    ProblemType(
        errors.ResourceMissing("aspose-ocr-cyrillic-v1.ocr"),
        422,
        "resource-missing",
        "The engine lacks a file for that",
        ("resource",),
    ),
)
