"""Hostile weights of models, and indexes of them."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from hostile.cases import NOT_TEXT, Act, Case, Place, with_model
from safetensors.numpy import load_file, save


def _weights(change: Callable[[dict[str, Any]], Any]) -> Act:
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


def _indexed(index: Any) -> Act:
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
CASES = [
    Case("weights are missing", with_model("model.safetensors", None), r"model: no weights"),
    Case("weights are empty", with_model("model.safetensors", b""), r"model\.safetensors: not a complete"),
    Case(
        "weights are a page of the web",
        with_model("model.safetensors", "<html>"),
        r"model\.safetensors: not a complete",
    ),
    Case(
        "weights are an LFS pointer",
        with_model("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        r"model\.safetensors: not a complete",
    ),
    Case(
        "weights are cut",
        with_model("model.safetensors", lambda old: old[:-100]),
        r"model\.safetensors: not a complete",
    ),
    Case(
        "the header of weights is cut",
        with_model("model.safetensors", lambda old: old[:50]),
        r"model\.safetensors: not a complete",
    ),
    Case(
        "the header of weights is 2^60 bytes long",
        with_model("model.safetensors", lambda old: struct.pack("<Q", 2**60) + old[8:]),
        r"model\.safetensors: not a complete",
    ),
    Case(
        "the header of weights is flipped",
        with_model("model.safetensors", lambda old: old[:8] + b"[" + old[9:]),
        r"model\.safetensors: not a complete",
    ),
    Case(
        "weights are FP8",
        with_model("model.safetensors", _fp8),
        r"model\.safetensors: .* holds F8_E4M3, .*quantised weights are not supported",
    ),
    Case(
        "weights are of an unknown type",
        with_model("model.safetensors", _header(lambda h: h["lm_head.weight"].update(dtype="F3"))),
        r"model\.safetensors: ",
    ),
    Case(
        "weights overlap",
        with_model("model.safetensors", _header(lambda h: h["lm_head.weight"].update(data_offsets=[0, 10]))),
        r"model\.safetensors: not a complete",
    ),
    Case(
        "weights have a huge shape",
        with_model("model.safetensors", _header(lambda h: h["lm_head.weight"].update(shape=[2**62, 2**62]))),
        r"model\.safetensors: not a complete",
    ),
    Case(
        "weights are integers",
        _weights(lambda t: t.update({"model.norm.weight": np.ones(16, np.int32)})),
        r"model\.safetensors: model\.norm\.weight holds I32, not F32",
    ),
    Case(
        "weights lack a tensor",
        _weights(lambda t: t.pop("model.norm.weight")),
        r"model: 1 tensors missing: model\.norm\.weight",
    ),
    Case(
        "weights have one more tensor",
        _weights(lambda t: t.update(surprise=np.ones(3, np.float32))),
        r"model: 1 tensors are not part of the llama model .*surprise",
    ),
    Case(
        "weights have an empty tensor",
        _weights(lambda t: t.update({"model.norm.weight": np.ones(0, np.float32)})),
        r"model\.norm\.weight is \[0\], expected \[16\]",
    ),
    Case(
        "weights have a scalar",
        _weights(lambda t: t.update({"model.norm.weight": np.array(1, np.float32)})),
        r"model\.norm\.weight is \[\], expected \[16\]",
    ),
    Case(
        "the index is sound", _indexed(lambda names: {"weight_map": dict.fromkeys(names, "part.safetensors")})
    ),
    Case("the index is a list", _indexed([]), rf"{INDEX}: a JSON list, expected an object"),
    Case("the index is empty", _indexed(""), rf"{INDEX}:1: not JSON"),
    Case("the index is not UTF-8", _indexed(NOT_TEXT), rf"{INDEX}: not UTF-8"),
    Case("the index is an object without a map", _indexed({}), rf"{INDEX}: no weight_map"),
    Case("the map of the index is a list", _indexed({"weight_map": ["a"]}), rf"{INDEX}: .*weight_map"),
    Case("the map of the index is null", _indexed({"weight_map": None}), rf"{INDEX}: .*weight_map"),
    Case("the map of the index has numbers", _indexed({"weight_map": {"a": 1}}), rf"{INDEX}: .*weight_map"),
    Case("the map of the index has lists", _indexed({"weight_map": {"a": ["b"]}}), rf"{INDEX}: .*weight_map"),
    Case(
        "the index leaves the folder",
        _indexed({"weight_map": {"a": "../x.safetensors"}}),
        rf"{INDEX}: '\.\./x\.safetensors' is outside the folder",
    ),
    Case(
        "the index names an absolute path",
        _indexed({"weight_map": {"a": "/etc/passwd"}}),
        rf"{INDEX}: '/etc/passwd' is outside the folder",
    ),
    Case(
        "the index names nothing",
        _indexed({"weight_map": {"a": ""}}),
        rf"{INDEX}: .*outside the folder|missing",
    ),
    Case(
        "the index names a missing file",
        _indexed({"weight_map": {"a": "no.safetensors"}}),
        r"no\.safetensors: missing",
    ),
    Case(
        "the index names a missing tensor",
        _indexed({"weight_map": {"a": "part.safetensors"}}),
        r"part\.safetensors: .* lists a here",
    ),
    Case(
        "the index names the tokenizer",
        _indexed({"weight_map": {"a": "tokenizer.json"}}),
        r"tokenizer\.json: not a complete safetensors",
    ),
    Case(
        "MODEL_DIR is a file",
        lambda place: place.rerank(MODEL_DIR=place.write("model.bin", "x")),
        r"model\.bin: no such folder",
    ),
    Case(
        "MODEL_DIR is missing",
        lambda place: place.rerank(MODEL_DIR=place.folder / "none"),
        r"none: no such folder",
    ),
    Case(
        "MODEL_DIR is a name with a null byte",
        lambda place: place.rerank(MODEL_DIR="a\0b"),
        r"MODEL_DIR|a.*b: ",
    ),
    Case(
        "MODEL_DIR is a very long name",
        lambda place: place.rerank(MODEL_DIR=f"/{'x' * 300}"),
        r"x.*: File name too long",
    ),
    Case(
        "MODEL_DIR has weights of pickle",
        lambda place: place.rerank(
            MODEL_DIR=place.copy(place.model, {"model.safetensors": None, "pytorch_model.bin": "x"})
        ),
        r"only pickled weights",
    ),
]
