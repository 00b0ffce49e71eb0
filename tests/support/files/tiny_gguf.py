"""A small valid GGUF model that AsposeAI loads and llama.cpp runs, with a known answer.

Its architecture is `llama`, with blocks that do nothing: each next character depends only on the character before it.
So the model answers every question with ANSWER and then ends; an endless model repeats ANSWER. Each byte is a token.
"""

from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

ANSWER = "fixed"
"""The answer of the model. No character occurs twice, because each character determines the next."""
CHAT_TEMPLATE = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOKENS = [b"<unk>", b"<s>", b"</s>", *(f"<0x{i:02X}>".encode() for i in range(256)), "▁".encode()]
PRINTABLE = [chr(code).encode() for code in range(33, 127)]
END = 2
VOCABULARY = len(TOKENS) + len(PRINTABLE)
EMBEDDING, HEADS, CONTEXT = 384, 4, 8192


def write(path: Path, *, endless: bool = False, size_bytes: int = 0) -> Path:
    """Write a model of 4 MB, or of about `size_bytes` if that is more. An endless model takes seconds for each text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    feed_forward = max(32, size_bytes // (3 * 4 * EMBEDDING) // 32 * 32)
    writer = GGUFWriter(path, "llama")
    _describe(writer, feed_forward)
    _add_vocabulary(writer)
    writer.add_tensor("token_embd.weight", np.eye(VOCABULARY, EMBEDDING, dtype=np.float32))
    writer.add_tensor("output_norm.weight", np.ones(EMBEDDING, np.float32))
    writer.add_tensor("output.weight", _next_token_weights(endless=endless))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(EMBEDDING, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((EMBEDDING, EMBEDDING), np.float32))
    for name in ("ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((feed_forward, EMBEDDING), np.float32))
    writer.add_tensor("blk.0.ffn_down.weight", np.zeros((EMBEDDING, feed_forward), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: GGUFWriter, feed_forward: int) -> None:
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(1)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(EMBEDDING // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(0)


def _add_vocabulary(writer: GGUFWriter) -> None:
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*TOKENS, *PRINTABLE])
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types([*types, *[TokenType.NORMAL] * (VOCABULARY - len(types))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHAT_TEMPLATE)


def _next_token_weights(*, endless: bool) -> np.ndarray:
    """Return the output weights: each character of ANSWER yields the next one, and any other token the first."""
    said = [len(TOKENS) + ord(character) - 33 for character in ANSWER]
    following = np.full(VOCABULARY, said[0])
    following[said[:-1]] = said[1:]
    following[said[-1]] = said[0] if endless else END
    weights = np.zeros((VOCABULARY, EMBEDDING), np.float32)
    weights[following, np.arange(VOCABULARY)] = 5.0
    return weights
