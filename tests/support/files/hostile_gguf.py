"""Invalid GGUF files, each with one defect, as a hostile or broken source could deliver them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from tests.support.files.model_files import ARRAY, STRING, U32, U64, Gguf, Tensor

I32, F32, BOOL = 5, 6, 7
TEMPLATE = "tokenizer.chat_template"
TOKENS = "tokenizer.ggml.tokens"
Pairs = dict[str, tuple[int, Any]]


@dataclass(frozen=True)
class Model:
    """A valid GGUF file in its parts."""

    pairs: Pairs
    tensors: tuple[Tensor, ...]
    data: bytes
    counts: tuple[int, int] | None = None
    """The counts of tensors and pairs that the header states; None for the true counts."""

    @classmethod
    def read(cls, path: Path) -> "Model":
        """Read a valid file into its parts."""
        reader = GGUFReader(path)
        pairs: Pairs = {}
        for name, field in reader.fields.items():
            if not name.startswith("GGUF."):
                kind, *of = map(int, field.types)
                pairs[name] = (kind, (of[0], field.contents()) if kind == ARRAY else field.contents())
        tensors = [
            Tensor(each.name, tuple(map(int, each.shape)), int(each.tensor_type), int(each.n_bytes))
            for each in reader.tensors
        ]
        data = bytes(reader.data[int(reader.data_offset) :])
        return cls(pairs, tuple(tensors), data)

    def header(self) -> bytes:
        """Return all bytes before the tensors' data, with padding."""
        writer = Gguf()
        head = writer.header([(name, *value) for name, value in self.pairs.items()], self.tensors)
        if self.counts:
            head = writer.start(*self.counts) + head[24:]
        return head + bytes(-len(head) % 32)

    def file(self) -> bytes:
        """Return the bytes of the whole file."""
        return self.header() + self.data

    def but(self, name: str, kind: int, value: Any) -> bytes:
        """Return the file with one pair replaced."""
        return replace(self, pairs=self.pairs | {name: (kind, value)}).file()

    def without(self, *names: str) -> bytes:
        """Return the file without some pairs."""
        return replace(self, pairs={name: value for name, value in self.pairs.items() if name not in names}).file()

    def but_tensor(self, tensor: str, **changes: Any) -> bytes:
        """Return the file with a changed description of one tensor."""
        tensors = [replace(each, **changes) if each.name == tensor else each for each in self.tensors]
        return replace(self, tensors=tuple(tensors)).file()


def corpus(model: Model) -> dict[str, dict[str, bytes]]:
    """Return invalid files by their defect, grouped into classes of defects."""
    return {
        "cut": dict(_cut(model)),
        "counts": dict(_counts(model)),
        "numbers": dict(_numbers(model)),
        "tensors": dict(_tensors(model)),
        "tokens": dict(_vocabularies(model)),
        "template": dict(_texts(model)),
        "bits": dict(_flipped(model)),
    }


def _cut(model: Model) -> Iterator[tuple[str, bytes]]:
    whole, header = model.file(), len(model.header())
    yield "cut to nothing", b""
    for length in (
        3,
        4,
        7,
        23,
        24,
        60,
        header // 2,
        header - 40,
        header,
        header + 1000,
        len(whole) // 2,
        len(whole) - 1,
    ):
        yield f"cut after {length} bytes", whole[:length]
    yield "cut to zeros", bytes(len(whole))


def _counts(model: Model) -> Iterator[tuple[str, bytes]]:
    tensors, pairs = len(model.tensors), len(model.pairs)
    for name, counts in {
        "tensors without end": (2**64 - 1, pairs),
        "tensors, 2^63 of them": (2**63, pairs),
        "tensors, one more than there are": (tensors + 1, pairs),
        "tensors, none": (0, pairs),
        "pairs without end": (tensors, 2**64 - 1),
        "pairs, 2^40 of them": (tensors, 2**40),
        "pairs, none": (tensors, 0),
    }.items():
        yield f"{name}", replace(model, counts=counts).file()
    whole = model.file()
    for name, at, value in (("version 0", 4, 0), ("version 4", 4, 4), ("version 3, big endian", 4, 3 << 24)):
        yield f"{name}", whole[:at] + value.to_bytes(4, "little") + whole[at + 4 :]
    for length in (2**63, 2**64 - 1, 2**31):
        yield f"a key of {length} bytes", whole[:24] + length.to_bytes(8, "little") + whole[32:]
    start = whole.index(b"general.name") + len("general.name") + 4
    for length in (2**63, 2**64 - 9, 2**32):
        yield f"a text of {length} bytes", whole[:start] + length.to_bytes(8, "little") + whole[start + 8 :]
    start = whole.index(TOKENS.encode()) + len(TOKENS) + 8
    for length in (2**61, 2**64 - 1, 10**9):
        yield f"a list of {length} tokens", whole[:start] + length.to_bytes(8, "little") + whole[start + 8 :]
    nested: tuple[int, Any] = (U32, [1])
    for _ in range(50):
        nested = (ARRAY, [nested])
    yield "lists in lists", model.but("general.nested", ARRAY, nested)


def _numbers(model: Model) -> Iterator[tuple[str, bytes]]:
    for key, values in {
        "context_length": (0, 1, 2**31 - 1, 2**31, 2**32 - 1),
        "embedding_length": (0, 1, 383, 2**32 - 1),
        "block_count": (0, 2, 2**31, 2**32 - 1),
        "feed_forward_length": (0, 2**32 - 1),
        "attention.head_count": (0, 3, 7, 2**32 - 1),
        "attention.head_count_kv": (0, 3, 2**31),
        "rope.dimension_count": (0, 1, 2**32 - 1),
    }.items():
        for value in values:
            yield f"{key} {value}", model.but(f"llama.{key}", U32, value)
    yield "context_length -1", model.but("llama.context_length", I32, -1)
    yield "context_length 2^63", model.but("llama.context_length", U64, 2**63)
    yield "context_length is a text", model.but("llama.context_length", STRING, "many")
    yield "epsilon NaN", model.but("llama.attention.layer_norm_rms_epsilon", F32, float("nan"))
    yield "epsilon -1", model.but("llama.attention.layer_norm_rms_epsilon", F32, -1.0)
    yield "rope base 0", model.but("llama.rope.freq_base", F32, 0.0)
    yield "alignment 0", model.but("general.alignment", U32, 0)
    yield "alignment 2^31", model.but("general.alignment", U32, 2**31)
    yield "a thousand million experts", model.but("llama.expert_count", U32, 10**9)
    yield "an unknown architecture", model.but("general.architecture", STRING, "x" * 10_000)
    yield "another architecture", model.but("general.architecture", STRING, "mamba")
    yield "a truth for a count", model.but("llama.block_count", BOOL, 1)


def _tensors(model: Model) -> Iterator[tuple[str, bytes]]:
    name, size = "output.weight", len(model.data)
    for offset in (1, 32, 2**62, 2**64 - 32, size, size + 32):
        yield f"begins at {offset}", model.but_tensor(name, offset=offset)
    yield (
        "all begin at 0",
        replace(model, tensors=tuple(replace(each, offset=0) for each in model.tensors)).file(),
    )
    for shape in (
        (0, 0),
        (384, 0),
        (2**63, 2),
        (2**32, 2**32),
        (2**64 - 1,),
        (384,),
        (384, 353, 1, 1, 1),
        (),
        (385, 353),
    ):
        yield f"of shape {shape}", model.but_tensor(name, shape=shape)
    for kind in (4, 12, 36, 99, 2**32 - 1):
        yield f"of type {kind}", model.but_tensor(name, kind=kind)
    yield "twice", replace(model, tensors=(*model.tensors, model.tensors[0])).file()
    yield "none but the first", replace(model, tensors=model.tensors[:1]).file()
    yield "a name of 70 characters", model.but_tensor(name, name="o" * 70)
    yield "all of it NaN", replace(model, data=b"\xff" * size).file()


def _vocabularies(model: Model) -> Iterator[tuple[str, bytes]]:
    tokens = model.pairs[TOKENS][1][1]
    yield "none", model.but(TOKENS, ARRAY, (STRING, []))
    yield "fewer than rows", model.but(TOKENS, ARRAY, (STRING, tokens[:300]))
    yield "more than rows", model.but(TOKENS, ARRAY, (STRING, [*tokens, *(f"t{i}" for i in range(5000))]))
    yield "all the same", model.but(TOKENS, ARRAY, (STRING, ["a"] * len(tokens)))
    yield "all empty", model.but(TOKENS, ARRAY, (STRING, [""] * len(tokens)))
    yield "no UTF-8", model.but(TOKENS, ARRAY, (STRING, [*tokens[:-94], *[b"\xff\xfe"] * 94]))
    yield (
        "half characters as the answer",
        model.but(TOKENS, ARRAY, (STRING, [*tokens[:-94], *[b"\xed\xa0\x80"] * 94])),
    )
    yield "numbers", model.but(TOKENS, ARRAY, (U32, list(range(len(tokens)))))
    yield "not there", model.without(TOKENS)
    yield "no tokenizer", model.without(*(name for name in model.pairs if name.startswith("tokenizer.")))
    yield "an unknown tokenizer", model.but("tokenizer.ggml.model", STRING, "nobody's")
    yield "gpt2 without merges", model.but("tokenizer.ggml.model", STRING, "gpt2")
    yield "fewer scores", model.but("tokenizer.ggml.scores", ARRAY, (F32, [0.0]))
    yield "fewer types", model.but("tokenizer.ggml.token_type", ARRAY, (I32, [1]))
    for key in ("bos", "eos", "unknown"):
        for value in (len(tokens), 2**32 - 1):
            yield f"{key} is {value}", model.but(f"tokenizer.ggml.{key}_token_id", U32, value)
    yield "without an end", model.without("tokenizer.ggml.eos_token_id")


def _texts(model: Model) -> Iterator[tuple[str, bytes]]:
    for name, template in {
        "none": "",
        "without end": "{% for i in range(1000000000) %}{% for j in range(1000000000) %}x{% endfor %}{% endfor %}",
        "deep": "{{" + "(" * 50_000 + ")" * 50_000 + "}}",
        "deep loops": "{% if true %}" * 5000 + "{% endif %}" * 5000,
        "calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "a broken one": "{% for m in messages %}",
        "4 MB": "<|im_start|>" * 350_000,
        "zeros": "<|im_start|>\0\0\0<|im_end|>",
        "formats": "%s%n%s%n" * 100 + "{0}{1}{2}",
    }.items():
        yield f"{name}", model.but(TEMPLATE, STRING, template)
    yield "no UTF-8", model.but(TEMPLATE, STRING, b"<|im_start|>\xff\xfe\xed\xa0\x80")
    yield "not a text", model.but(TEMPLATE, U32, 1)
    yield "not there", model.without(TEMPLATE)
    yield "a name of 5 MB", model.but("general.name", STRING, "n" * 5_000_000)


def _flipped(model: Model) -> Iterator[tuple[str, bytes]]:
    whole, length = model.file(), len(model.header())
    for seed in range(30):
        chance = random.Random(seed)  # noqa: S311 - to be the same each time
        mutated = bytearray(whole)
        for _ in range(chance.choice([1, 1, 2, 8, 64])):
            mutated[chance.randrange(length)] ^= 1 << chance.randrange(8)
        yield f"seed {seed}", bytes(mutated)
