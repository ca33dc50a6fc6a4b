"""Hostile files of models: config.json, weights, indexes, tokenizers, chat templates and adapters."""

from __future__ import annotations

import functools
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile_cases import Case, Place
from safetensors.numpy import load_file, save

from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.models.lora import peft
from seqio_tasks.prompts import chat
from seqio_tasks.tokenizer import HuggingFaceTokenizer

NOT_TEXT = b'{"a": "\xff\xfe"}'
DEEP = "[" * 100_000
HUGE = '{"a": 1' + "0" * 5_000 + "}"


def _reranked(
    file: str, content: Callable[[bytes], bytes | str] | bytes | str | None
) -> Callable[[Place], Any]:
    """`rerank` with a model in which one file has other content."""

    def act(place: Place) -> Any:
        old = place.model / file
        new = content(old.read_bytes() if old.is_file() else b"") if callable(content) else content
        return place.rerank(MODEL_DIR=place.copy(place.model, {file: new}))

    return act


def _changed(**values: Any) -> Callable[[bytes], str]:
    """JSON with other values; Ellipsis removes a key."""

    def change(old: bytes) -> str:
        made = json.loads(old or b"{}") | values
        return json.dumps({key: value for key, value in made.items() if value is not ...})

    return change


CONFIG = [
    Case(f"config.json {name}", _reranked("config.json", content), error)
    for name, content, error in [
        ("is missing", None, r"config\.json: no such file"),
        ("is empty", b"", r"config\.json:1: not JSON"),
        ("is a list", "[1, 2]", r"config\.json: a JSON list, expected an object"),
        ("is null", "null", r"config\.json: a JSON null, expected an object"),
        ("is not UTF-8", NOT_TEXT, r"config\.json: not UTF-8"),
        ("is nested too deeply", DEEP, r"config\.json:1: not JSON \(nested too deeply"),
        ("has a number of 5,000 digits", HUGE, r"config\.json:1: not JSON \(a number has more than 4,300 digits"),
        ("is cut", lambda old: old[: len(old) // 2], r"config\.json:\d+: not JSON"),
        ("has a byte order mark", lambda old: b"\xef\xbb\xbf" + old, None),
        ("is UTF-16", lambda old: old.decode().encode("utf-16"), r"config\.json: not UTF-8"),
        ("has no sizes", "{}", r"config\.json: no architecture at all is not supported"),
        ("has a text as architectures", _changed(architectures="LlamaForCausalLM"), r"config\.json: architectures"),
        ("has a list of numbers as architectures", _changed(architectures=[1]), r"config\.json: architectures"),
        ("has null in architectures", _changed(architectures=[None]), r"config\.json: architectures"),
        ("has an object as architectures", _changed(architectures={"a": 1}), r"config\.json: architectures"),
        ("has hidden_size as text", _changed(hidden_size="16"), r"config\.json: hidden_size is '16'"),
        ("has hidden_size 0", _changed(hidden_size=0), r"config\.json: hidden_size"),
        ("has hidden_size -16", _changed(hidden_size=-16), r"config\.json: hidden_size"),
        ("has hidden_size 16.5", _changed(hidden_size=16.5), r"config\.json: hidden_size is 16\.5"),
        ("has hidden_size true", _changed(hidden_size=True), r"config\.json: hidden_size is True"),
        ("has hidden_size as a list", _changed(hidden_size=[16]), r"config\.json: hidden_size is \[16\]"),
        ("has no hidden_size", _changed(hidden_size=...), r"config\.json: hidden_size missing"),
        ("has ten million layers", _changed(num_hidden_layers=10**7), r"config\.json: num_hidden_layers"),
        ("has -1 layers", _changed(num_hidden_layers=-1), r"config\.json: num_hidden_layers"),
        ("has no heads", _changed(num_attention_heads=0, head_dim=...), r"config\.json: num_attention_heads"),
        ("has 1e30 heads", _changed(num_attention_heads=1e30), r"config\.json: num_attention_heads"),
        ("has infinite hidden_size", _changed(hidden_size=float("inf")), r"config\.json: hidden_size is inf"),
        ("has 3 key-value heads for 2", _changed(num_key_value_heads=3), r"config\.json: num_"),
        ("has an odd head_dim", _changed(head_dim=7), r"config\.json: .*head_dim"),
        ("has 10^12 tokens", _changed(vocab_size=10**12), r"config\.json: vocab_size"),
        ("has vocab_size as text", _changed(vocab_size="many"), r"config\.json: vocab_size is 'many'"),
        ("has too few embeddings", _changed(vocab_size=100), r"4096 tokens, but the model has only 100 embeddings"),
        ("has other weights", _changed(hidden_size=32), r"model: \d+ tensors do not fit config\.json"),
        ("has more layers than weights", _changed(num_hidden_layers=3), r"model: \d+ tensors missing"),
        ("has fewer layers than weights", _changed(tie_word_embeddings=True), r"tie_word_embeddings to false"),
        ("has hidden_act as a list", _changed(hidden_act=["silu"]), r"config\.json: hidden_act is \['silu'\]"),
        ("has rms_norm_eps as text", _changed(rms_norm_eps="small"), r"config\.json: rms_norm_eps is 'small'"),
        ("has max_position_embeddings 0", _changed(max_position_embeddings=0), r"config\.json: max_position"),
        ("has rope_theta as text", _changed(rope_theta="ten"), r"config\.json: rope_theta"),
        ("has rope_scaling as a list", _changed(rope_scaling=[1]), r"config\.json: rope_scaling"),
        ("has rope_scaling as text", _changed(rope_scaling="linear"), r"config\.json: rope_scaling"),
        (
            "has a rope factor as text",
            _changed(rope_scaling={"rope_type": "linear", "factor": "two"}),
            r"config\.json: .*factor",
        ),
        (
            "has a rope factor of 0",
            _changed(rope_scaling={"rope_type": "linear", "factor": 0}),
            r"config\.json: .*factor",
        ),
        ("has an unknown rope", _changed(rope_scaling={"rope_type": "magic"}), r"config\.json: rope scaling 'magic'"),
        ("has a rope kind as a list", _changed(rope_scaling={"rope_type": ["linear"]}), r"config\.json: rope"),
        ("has rope_parameters as text", _changed(rope_parameters="x"), r"config\.json: rope_parameters"),
        ("has layer_types as a number", _changed(layer_types=3), r"config\.json: layer_types"),
        ("has layer_types of lists", _changed(layer_types=[["full_attention"]]), r"config\.json: layer_types"),
        ("has a text as eos_token_id", _changed(eos_token_id="</s>"), r"config\.json: eos_token_id is '</s>'"),
        ("has an empty eos_token_id", _changed(eos_token_id=[]), None),
        ("has an eos_token_id of lists", _changed(eos_token_id=[[2]]), r"config\.json: eos_token_id"),
        ("has bos_token_id 10^9", _changed(bos_token_id=10**9), None),
        ("has quantised weights", _changed(quantization_config={"bits": 4}), r"config\.json: quantization_config"),
        ("has FP8 weights", _changed(quantization_config={"quant_method": "fp8"}), r"config\.json: quantization_config"),
        ("has experts", _changed(num_local_experts=8), r"config\.json: num_local_experts is 8"),
        ("has attention_bias as text", _changed(attention_bias="no"), r"config\.json: attention_bias"),
        ("has tie_word_embeddings as text", _changed(tie_word_embeddings="no"), r"config\.json: tie_word_embeddings"),
        ("has sliding_window as text", lambda old: _mistral(sliding_window="wide")(old), r"config\.json: sliding_window"),
        ("has sliding_window 0", lambda old: _mistral(sliding_window=0)(old), r"config\.json: sliding_window"),
        ("is of another family", _changed(architectures=["BertModel"]), r"config\.json: BertModel is not supported"),
        ("has text_config as a list", _changed(architectures=["Gemma3ForConditionalGeneration"], text_config=[]),
         r"config\.json: .*missing"),
        ("has text_config as text", _changed(architectures=["Gemma3ForConditionalGeneration"], text_config="x"),
         r"config\.json: text_config"),
    ]
]  # fmt: skip


def _mistral(**values: Any) -> Callable[[bytes], str]:
    return _changed(architectures=["MistralForCausalLM"], model_type="mistral", **values)


def _weights(change: Callable[[dict[str, Any]], Any]) -> Callable[[Place], Any]:
    """`rerank` with changed tensors."""

    def act(place: Place) -> Any:
        tensors = load_file(place.model / "model.safetensors")
        change(tensors)
        return place.rerank(MODEL_DIR=place.copy(place.model, {"model.safetensors": save(tensors)}))

    return act


def _header(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """The weights with a changed header."""

    def changed(old: bytes) -> bytes:
        size = struct.unpack("<Q", old[:8])[0]
        header = json.loads(old[8 : 8 + size])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + old[8 + size :]

    return changed


def _fp8(old: bytes) -> bytes:
    """Weights of the same shapes with a byte for each number."""
    size = struct.unpack("<Q", old[:8])[0]
    header, end = {}, 0
    for name, entry in json.loads(old[8 : 8 + size]).items():
        if name != "__metadata__":
            count = math.prod(entry["shape"])
            header[name] = {**entry, "dtype": "F8_E4M3", "data_offsets": [end, end + count]}
            end += count
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(end)


def _indexed(index: Any, *, keep: bool = False) -> Callable[[Place], Any]:
    """`rerank` with an index, whose weights have another name."""

    def act(place: Place) -> Any:
        folder = place.copy(place.model)
        names = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        content = index(names) if callable(index) else index
        text = content if isinstance(content, bytes | str) else json.dumps(content)
        place.write(f"{folder.name}/model.safetensors.index.json", text)
        return place.rerank(MODEL_DIR=folder)

    return act


INDEX = r"model\.safetensors\.index\.json"
WEIGHTS = [
    Case("weights are missing", _reranked("model.safetensors", None), r"model: no weights"),
    Case("weights are empty", _reranked("model.safetensors", b""), r"model\.safetensors: not a complete"),
    Case("weights are a page of the web", _reranked("model.safetensors", "<html>"), r"model\.safetensors: not a complete"),
    Case("weights are an LFS pointer", _reranked("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), r"model\.safetensors: not a complete"),
    Case("weights are cut", _reranked("model.safetensors", lambda old: old[:-100]), r"model\.safetensors: not a complete"),
    Case("the header of weights is cut", _reranked("model.safetensors", lambda old: old[:50]), r"model\.safetensors: not a complete"),
    Case("the header of weights is 2^60 bytes long", _reranked("model.safetensors", lambda old: struct.pack("<Q", 2**60) + old[8:]), r"model\.safetensors: not a complete"),
    Case("the header of weights is flipped", _reranked("model.safetensors", lambda old: old[:8] + b"[" + old[9:]), r"model\.safetensors: not a complete"),
    Case("weights are FP8", _reranked("model.safetensors", _fp8), r"model\.safetensors: .* holds F8_E4M3, .*quantised weights are not supported"),
    Case("weights are of an unknown type", _reranked("model.safetensors", _header(lambda h: h["lm_head.weight"].update(dtype="F3"))), r"model\.safetensors: "),
    Case("weights overlap", _reranked("model.safetensors", _header(lambda h: h["lm_head.weight"].update(data_offsets=[0, 10]))), r"model\.safetensors: not a complete"),
    Case("weights have a huge shape", _reranked("model.safetensors", _header(lambda h: h["lm_head.weight"].update(shape=[2**62, 2**62]))), r"model\.safetensors: not a complete"),
    Case("weights are integers", _weights(lambda t: t.update({"model.norm.weight": np.ones(16, np.int32)})), r"model\.safetensors: model\.norm\.weight holds I32, not F32"),
    Case("weights lack a tensor", _weights(lambda t: t.pop("model.norm.weight")), r"model: 1 tensors missing: model\.norm\.weight"),
    Case("weights have one more tensor", _weights(lambda t: t.update(surprise=np.ones(3, np.float32))), r"model: 1 tensors are not part of the llama model .*surprise"),
    Case("weights have an empty tensor", _weights(lambda t: t.update({"model.norm.weight": np.ones(0, np.float32)})), r"model\.norm\.weight is \[0\], expected \[16\]"),
    Case("weights have a scalar", _weights(lambda t: t.update({"model.norm.weight": np.array(1, np.float32)})), r"model\.norm\.weight is \[\], expected \[16\]"),
    Case("the index is sound", _indexed(lambda names: {"weight_map": dict.fromkeys(names, "part.safetensors")})),
    Case("the index is a list", _indexed([]), rf"{INDEX}: a JSON list, expected an object"),
    Case("the index is empty", _indexed(""), rf"{INDEX}:1: not JSON"),
    Case("the index is not UTF-8", _indexed(NOT_TEXT), rf"{INDEX}: not UTF-8"),
    Case("the index is an object without a map", _indexed({}), rf"{INDEX}: no weight_map"),
    Case("the map of the index is a list", _indexed({"weight_map": ["a"]}), rf"{INDEX}: .*weight_map"),
    Case("the map of the index is null", _indexed({"weight_map": None}), rf"{INDEX}: .*weight_map"),
    Case("the map of the index has numbers", _indexed({"weight_map": {"a": 1}}), rf"{INDEX}: .*weight_map"),
    Case("the map of the index has lists", _indexed({"weight_map": {"a": ["b"]}}), rf"{INDEX}: .*weight_map"),
    Case("the index leaves the folder", _indexed({"weight_map": {"a": "../x.safetensors"}}), rf"{INDEX}: '\.\./x\.safetensors' is outside the folder"),
    Case("the index names an absolute path", _indexed({"weight_map": {"a": "/etc/passwd"}}), rf"{INDEX}: '/etc/passwd' is outside the folder"),
    Case("the index names nothing", _indexed({"weight_map": {"a": ""}}), rf"{INDEX}: .*outside the folder|missing"),
    Case("the index names a missing file", _indexed({"weight_map": {"a": "no.safetensors"}}), r"no\.safetensors: missing"),
    Case("the index names a missing tensor", _indexed({"weight_map": {"a": "part.safetensors"}}), r"part\.safetensors: .* lists a here"),
    Case("the index names the tokenizer", _indexed({"weight_map": {"a": "tokenizer.json"}}), r"tokenizer\.json: not a complete safetensors"),
    Case("MODEL_DIR is a file", lambda place: place.rerank(MODEL_DIR=place.write("model.bin", "x")), r"model\.bin: no such folder"),
    Case("MODEL_DIR is missing", lambda place: place.rerank(MODEL_DIR=place.folder / "none"), r"none: no such folder"),
    Case("MODEL_DIR is a name with a null byte", lambda place: place.rerank(MODEL_DIR="a\0b"), r"MODEL_DIR|a.*b: "),
    Case("MODEL_DIR is a very long name", lambda place: place.rerank(MODEL_DIR=f"/{'x' * 300}"), r"x.*: File name too long"),
    Case("MODEL_DIR has weights of pickle", lambda place: place.rerank(MODEL_DIR=place.copy(place.model, {"model.safetensors": None, "pytorch_model.bin": "x"})), r"only pickled weights"),
]  # fmt: skip


def _tokenizer(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], str]:
    def changed(old: bytes) -> str:
        content = json.loads(old)
        change(content)
        return json.dumps(content)

    return changed


TOKENIZER = [
    Case("tokenizer.json is cut", _reranked("tokenizer.json", lambda old: old[: len(old) // 2]), r"tokenizer\.json: cannot be read as a tokenizer"),
    Case("tokenizer.json is empty", _reranked("tokenizer.json", b""), r"tokenizer\.json: cannot be read as a tokenizer"),
    Case("tokenizer.json is a list", _reranked("tokenizer.json", "[]"), r"tokenizer\.json: cannot be read as a tokenizer"),
    Case("tokenizer.json is an object", _reranked("tokenizer.json", "{}"), r"tokenizer\.json: cannot be read as a tokenizer"),
    Case("tokenizer.json is not UTF-8", _reranked("tokenizer.json", NOT_TEXT), r"tokenizer\.json: cannot be read as a tokenizer"),
    Case("tokenizer.json is nested too deeply", _reranked("tokenizer.json", DEEP), r"tokenizer\.json: cannot be read as a tokenizer"),
    Case("tokenizer.json has no model", _reranked("tokenizer.json", _tokenizer(lambda c: c.pop("model"))), r"tokenizer\.json: cannot be read as a tokenizer"),
    Case("tokenizer.json has an empty vocabulary", _reranked("tokenizer.json", _tokenizer(lambda c: c.update(model={"type": "BPE", "vocab": {}, "merges": []}, added_tokens=[]))), r"tokenizer\.json: "),
    Case("tokenizer.json has added tokens of text", _reranked("tokenizer.json", _tokenizer(lambda c: c.update(added_tokens=["<s>"]))), r"tokenizer\.json: cannot be read as a tokenizer"),
    Case("tokenizer.json has a merge of unknown parts", _reranked("tokenizer.json", _tokenizer(lambda c: c["model"].update(merges=["zz yy"]))), r"tokenizer\.json: cannot be read as a tokenizer"),
    Case("tokenizer.json is missing", _reranked("tokenizer.json", None), r"came without a tokenizer; set TOKENIZER"),
    Case("tokenizer_config.json is a list", _reranked("tokenizer_config.json", "[]"), r"tokenizer_config\.json: a JSON list, expected an object"),
    Case("tokenizer_config.json is not UTF-8", _reranked("tokenizer_config.json", NOT_TEXT), r"tokenizer_config\.json: not UTF-8"),
    Case("tokenizer_config.json is cut", _reranked("tokenizer_config.json", '{"eos_token": "</s'), r"tokenizer_config\.json:1: not JSON"),
    Case("tokenizer_config.json has a number as token", _reranked("tokenizer_config.json", _changed(eos_token=2)), r"tokenizer_config\.json: eos_token is 2"),
    Case("tokenizer_config.json has a list as token", _reranked("tokenizer_config.json", _changed(eos_token=["</s>"])), r"tokenizer_config\.json: eos_token is \['</s>'\]"),
    Case("tokenizer_config.json has an empty token object", _reranked("tokenizer_config.json", _changed(eos_token={})), r"tokenizer_config\.json: eos_token is \{\}"),
    Case("tokenizer_config.json names an unknown token", _reranked("tokenizer_config.json", _changed(eos_token="<nope>")), r"has no token '<nope>'"),
    Case("special_tokens_map.json is null", _reranked("special_tokens_map.json", "null"), r"special_tokens_map\.json: a JSON null"),
    Case("generation_config.json is a number", _reranked("generation_config.json", "3"), r"generation_config\.json: a JSON number"),
    Case("TOKENIZER is a folder without one", lambda place: place.rerank(TOKENIZER=place.write("t/a.txt", "x").parent), r"no tokenizer\.json"),
    Case("TOKENIZER is missing", lambda place: place.rerank(TOKENIZER=place.folder / "none"), r"none: no tokenizer\.json"),
    Case("TOKENIZER is text", lambda place: place.rerank(TOKENIZER=place.write("t.json", "words")), r"t\.json: cannot be read as a tokenizer"),
    Case("prompts record is a list", _reranked("inters_prompts.json", "[]"), r"inters_prompts\.json: not a record of prompts"),
    Case("prompts record is a list inside", _reranked("inters_prompts.json", '{"chat_template": [1]}'), r"inters_prompts\.json: not a record of prompts"),
    Case("prompts record is not UTF-8", _reranked("inters_prompts.json", NOT_TEXT), r"inters_prompts\.json: not a record of prompts"),
    Case("prompts record without its template", _reranked("inters_prompts.json", '{"chat_template": {"from": "x", "sha256": "0"}}'), r"chat_template\.jinja: missing"),
]  # fmt: skip

MESSAGES = "{% for m in messages %}[{{ m.role }}]{{ m.content }}</s>{% endfor %}"


def _template(text: bytes | str, name: str = "t.jinja") -> Callable[[Place], Any]:
    return lambda place: place.rerank(CHAT_TEMPLATE=place.write(name, text))


def _loops(depth: int, inside: str = "") -> str:
    opened = "".join("{% for " + f"i{n}" + " in range(90000) %}" for n in range(depth))
    return opened + inside + "{% endfor %}" * depth


TEMPLATES = [
    Case(f"chat template {name}", _template(text), error)
    for name, text, error in [
        ("is sound", MESSAGES + "{% if add_generation_prompt %}[assistant]{% endif %}", None),
        ("is empty", "", r"chat template writes a message 0 times"),
        ("is not UTF-8", b"\xff\xfe", r"t\.jinja: not UTF-8"),
        ("has an open block", "{% for m in messages %}", r"t\.jinja: .*chat template cannot be rendered"),
        ("has an unknown filter", "{{ messages | nosuch }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("divides by zero", "{{ 1 // 0 }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("adds text and numbers", "{{ 'a' + 1 }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("indexes beyond the end", "{{ messages[7].content }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("calls what is no function", "{{ messages() }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("includes a file", "{% include '/etc/passwd' %}", r"t\.jinja: .*chat template cannot be rendered"),
        ("reaches for classes", "{{ ''.__class__.__mro__ }}", r"chat template"),
        ("changes the messages", "{{ messages.append(1) }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("raises an error", "{{ raise_exception('no') }}", r"t\.jinja: .*chat template cannot be rendered: no"),
        ("has nested loops", _loops(4, "x"), r"t\.jinja: .*chat template cannot be rendered"),
        ("has nested empty loops", _loops(4), r"t\.jinja: .*chat template cannot be rendered"),
        ("has a huge string", "{{ 'x' * 10000000000 }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("has a huge list", "{{ [1] * 10000000000 }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("has a huge number", "{{ 9 ** 99999 ** 3 }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("pads to a huge string", "{{ 'x'.ljust(10000000000) }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("centers in a huge string", "{{ 'x' | center(10000000000) }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("formats a huge string", "{{ '%10000000000d' % 1 }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("doubles a text", "{% set n = namespace(x='xx') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}", r"t\.jinja: .*chat template cannot be rendered"),
        ("calls itself", "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("writes each message twice", MESSAGES * 2, r"t\.jinja: .*chat template writes a message 2 times"),
        ("has deep parentheses", "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", r"t\.jinja: .*chat template cannot be rendered"),
    ]
] + [
    Case("chat template file is missing", lambda place: place.rerank(CHAT_TEMPLATE=place.folder / "no.jinja"), r"no\.jinja: no such chat template"),
    Case("chat template file is a list", _template("[]", "t.json"), r"t\.json: a JSON list, expected an object"),
    Case("chat template file has a number", _template('{"chat_template": 3}', "t.json"), r"t\.json: has no chat template"),
    Case("chat template file has nameless templates", _template('{"chat_template": [1, {"a": 2}]}', "t.json"), r"t\.json: "),
    Case("chat template file is a folder", lambda place: place.rerank(CHAT_TEMPLATE=place.folder), r"no such chat template"),
    Case("chat template of a tokenizer without one", lambda place: place.rerank(CHAT_TEMPLATE="tokenizer"), r"has no chat template"),
    Case(
        "chat template renders as in training",
        lambda place: HuggingFaceTokenizer(place.model, chat_template=str(place.write("t.jinja", MESSAGES + "{% if add_generation_prompt %}[assistant]{% endif %}"))).chat_format.turns,
        value=chat.Turns("[user]", "</s>[assistant]", "", "</s>", False, False),
    ),
]  # fmt: skip


def _adapter(
    config: Any = None, weights: Any = None, *, plain: bytes | str | None = None
) -> Callable[[Place], Any]:
    """Read an adapter of the tiny model with changed settings or tensors."""

    def act(place: Place) -> Any:
        hidden, rank = 16, 2
        module = "base_model.model.model.layers.0.self_attn.o_proj"
        tensors = {
            f"{module}.lora_A.weight": np.zeros((rank, hidden), np.float32),
            f"{module}.lora_B.weight": np.zeros((hidden, rank), np.float32),
        }
        described: Any = {"peft_type": "LORA", "r": rank, "lora_alpha": 4}
        described = config if isinstance(config, bytes | str | list) else described | (config or {})
        text = described if isinstance(described, bytes | str) else json.dumps(described)
        place.write("adapter/adapter_config.json", text)
        if weights is not None:
            weights(tensors)
        place.write("adapter/adapter_model.safetensors", save(tensors) if plain is None else plain)
        read = peft.read(place.folder / "adapter", config_from_hf(place.model))
        return sorted(read.by_module)

    return act


ADAPTER_CONFIG = r"adapter_config\.json"
ADAPTER_WEIGHTS = r"adapter_model\.safetensors"
ADAPTERS = [
    Case(f"adapter {name}", act, error)
    for name, act, error in [
        ("is sound", _adapter(), None),
        ("config is a list", _adapter([]), rf"{ADAPTER_CONFIG}: a JSON list, expected an object"),
        ("config is not UTF-8", _adapter(NOT_TEXT), rf"{ADAPTER_CONFIG}: not UTF-8"),
        ("config is cut", _adapter('{"peft_type": "LORA",'), rf"{ADAPTER_CONFIG}:1: not JSON"),
        ("config is nested too deeply", _adapter(DEEP), rf"{ADAPTER_CONFIG}:1: not JSON"),
        ("is of another kind", _adapter({"peft_type": "IA3"}), rf"{ADAPTER_CONFIG}: peft_type is 'IA3'"),
        ("has no alpha", _adapter({"lora_alpha": None}), rf"{ADAPTER_CONFIG}: lora_alpha is None"),
        ("has alpha as text", _adapter({"lora_alpha": "4"}), rf"{ADAPTER_CONFIG}: lora_alpha is '4'"),
        ("has alpha NaN", _adapter({"lora_alpha": float("nan")}), rf"{ADAPTER_CONFIG}: lora_alpha is nan"),
        ("has alpha_pattern as a list", _adapter({"alpha_pattern": ["a"]}), rf"{ADAPTER_CONFIG}: alpha_pattern"),
        ("has alpha_pattern of texts", _adapter({"alpha_pattern": {"o_proj": "x"}}), rf"{ADAPTER_CONFIG}: alpha_pattern"),
        ("has an alpha_pattern that is no pattern", _adapter({"alpha_pattern": {"(": 1}}), rf"{ADAPTER_CONFIG}: alpha_pattern"),
        ("is DoRA", _adapter({"use_dora": True}), rf"{ADAPTER_CONFIG}: use_dora is True"),
        ("weights are empty", _adapter(plain=b""), rf"{ADAPTER_WEIGHTS}: not a complete"),
        ("weights are text", _adapter(plain="hello"), rf"{ADAPTER_WEIGHTS}: not a complete"),
        ("weights hold nothing", _adapter(weights=lambda t: t.clear()), rf"{ADAPTER_WEIGHTS}: holds no update"),
        ("weights lack B", _adapter(weights=lambda t: t.popitem()), rf"{ADAPTER_WEIGHTS}: .*no lora_B"),
        ("weights are integers", _adapter(weights=lambda t: t.update({n: a.astype(np.int8) for n, a in t.items()})), rf"{ADAPTER_WEIGHTS}: .*holds int8"),
        ("weights are vectors", _adapter(weights=lambda t: t.update({n: a[0] for n, a in t.items()})), rf"{ADAPTER_WEIGHTS}: "),
        ("weights are of rank 0", _adapter(weights=lambda t: t.update({n: a[:0] if "_A" in n else a[:, :0] for n, a in t.items()})), rf"{ADAPTER_WEIGHTS}: "),
        ("weights are of another model", _adapter(weights=lambda t: t.update({n: np.tile(a, (2, 2)) for n, a in t.items()})), rf"{ADAPTER_WEIGHTS}: .*another model"),
        ("weights have a strange name", _adapter(weights=lambda t: t.update(surprise=np.ones(2, np.float32))), rf"{ADAPTER_WEIGHTS}: 1 tensors are not part"),
        ("is missing", lambda place: peft.read(place.folder, config_from_hf(place.model)), r"no adapter_config\.json"),
    ]
]  # fmt: skip

CASES = [*CONFIG, *WEIGHTS, *TOKENIZER, *TEMPLATES, *ADAPTERS]
