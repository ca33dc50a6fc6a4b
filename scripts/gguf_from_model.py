"""Convert a Hugging Face folder of a Llama to a GGUF file for llama.cpp, without its tokenizer.

    pip install gguf safetensors
    python scripts/gguf_from_model.py models/SmolLM2-135M smollm2.gguf --type q8_0

The opposite of model_from_gguf.py, for benchmarks: both programs then have the same weights, and are given
token ids. The type is that of the matrices: f32, f16, bf16 or q8_0; norms stay float32.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

TYPES = ("f32", "f16", "bf16", "q8_0")
_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}


def convert(folder: Path, file: Path, kind: str) -> None:
    """Write the weights of `folder` to `file`.

    Raises:
      ValueError: the folder has no Llama, or a tensor without a place in the file.
    """
    import gguf

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["model_type"] != "llama":
        raise ValueError(f"{folder / 'config.json'}: model_type is {config['model_type']!r}, not 'llama'")
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")
    wanted = gguf.GGMLQuantizationType[kind.upper()]
    for name, array in _tensors(folder):
        place = _place(name)
        if place.endswith(("attn_q.weight", "attn_k.weight")):
            array = _interleaved(array, head_dim)
        if array.ndim == 1:
            writer.add_tensor(place, array)
        else:
            writer.add_tensor(place, gguf.quants.quantize(array, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """(name, float32 array) of every tensor of a folder."""
    from safetensors import safe_open

    for part in sorted(folder.glob("*.safetensors")):
        with safe_open(part, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 (the file is no mapping)
                array: Any = file.get_tensor(name)
                yield name, np.ascontiguousarray(array.astype(np.float32))


def _place(name: str) -> str:
    """
    >>> _place("model.layers.3.mlp.up_proj.weight"), _place("model.norm.weight")
    ('blk.3.ffn_up.weight', 'output_norm.weight')
    """
    if name in _NAMES:
        return _NAMES[name]
    parts = name.split(".", 3)
    if parts[:2] == ["model", "layers"] and parts[-1] in _NAMES:
        return f"blk.{parts[2]}.{_NAMES[parts[-1]]}"
    raise ValueError(f"tensor {name!r} has no place in a GGUF file of a Llama")


def _interleaved(array: np.ndarray, head_dim: int) -> np.ndarray:
    """The rows of each head in llama.cpp's order: it turns neighbours, transformers turns halves.

    >>> _interleaved(np.arange(4)[:, None], 4)[:, 0]
    array([0, 2, 1, 3])
    """
    rows, columns = array.shape
    halves = array.reshape(rows // head_dim, 2, head_dim // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="the Hugging Face folder")
    parser.add_argument("file", type=Path, help="the GGUF file to make")
    parser.add_argument("--type", choices=TYPES, default="f16")
    given = parser.parse_args()
    if given.file.exists():
        parser.error(f"{given.file} exists; remove it, or name another file")
    convert(given.folder, given.file, given.type)
    print(f"{given.file}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
