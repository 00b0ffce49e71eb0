"""The tables of GGUF's numbers agree with llama.cpp's own package; they may also hold withdrawn and newer numbers."""

import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from app.store.headers.gguf_types import FILE_TYPES, MAX_TYPE, TENSOR_TYPES, TensorType


@pytest.mark.parametrize("kind", GGMLQuantizationType, ids=lambda kind: kind.name)
def test_each_type_of_tensor_is_in_the_table_with_its_size(kind: GGMLQuantizationType) -> None:
    assert TENSOR_TYPES.get(kind) == TensorType(kind.name, *GGML_QUANT_SIZES[kind])
    assert kind <= MAX_TYPE


@pytest.mark.parametrize(
    "kind", [kind for kind in LlamaFileType if kind is not LlamaFileType.GUESSED], ids=lambda kind: kind.name
)
def test_each_type_of_file_is_in_the_table(kind: LlamaFileType) -> None:
    assert FILE_TYPES.get(kind) == kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
