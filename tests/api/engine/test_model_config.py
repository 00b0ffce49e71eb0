"""`OCR_ENGINE_GPU_LAYERS` and `OCR_ENGINE_CONTEXT_SIZE`: each load gets them, and `GET /engine` reports them."""

import json

from app.engine.contract.processors import DEFAULT_MODEL
from tests.conftest import Serve
from tests.support.files import tiny_gguf
from tests.support.service import RunningService

TELLS_CONFIG = "tests.support.engines:TellsConfig"


def config_of_a_load(service: RunningService) -> object:
    """Return the configuration with which a processor's model is loaded."""
    tiny_gguf.write(service.models_dir / DEFAULT_MODEL)
    service.wait_until_ready()
    body = {"texts": ["a text"], "question": "why?"}
    (result,) = service.client.post("/ai/query", json=body).raise_for_status().json()["results"]
    return json.loads(result["text"])


def test_the_configuration_of_a_load(serve: Serve) -> None:
    """The values of the settings reach the engine; without them it keeps its own."""
    service = serve(engine_class=TELLS_CONFIG, engine_gpu_layers=20, engine_context_size=8192)

    assert config_of_a_load(service) == {"gpu_layers": 20, "context_size": 8192}
    engine = service.engine()
    assert (engine["gpu_layers"], engine["context_size"]) == (20, 8192)


def test_without_the_settings(serve: Serve) -> None:
    """Without the settings the engine chooses, and the service reports null."""
    service = serve(engine_class=TELLS_CONFIG)

    assert config_of_a_load(service) == {"gpu_layers": None, "context_size": None}
    assert service.engine()["gpu_layers"] is None
