"""Hostile config.json files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hostile.cases import DEEP, NOT_TEXT, Case, changed, with_model

HUGE = '{"a": 1' + "0" * 5_000 + "}"


def _mistral(**values: Any) -> Callable[[bytes], str]:
    return changed(architectures=["MistralForCausalLM"], model_type="mistral", **values)


CASES = [
    Case(f"config.json {name}", with_model("config.json", content), error)
    for name, content, error in [
        ("is missing", None, r"config\.json: no such file"),
        ("is empty", b"", r"config\.json:1: not JSON"),
        ("is a list", "[1, 2]", r"config\.json: a JSON list, expected an object"),
        ("is null", "null", r"config\.json: a JSON null, expected an object"),
        ("is not UTF-8", NOT_TEXT, r"config\.json: not UTF-8"),
        ("is nested too deeply", DEEP, r"config\.json:1: not JSON \(nested too deeply"),
        (
            "has a number of 5,000 digits",
            HUGE,
            r"config\.json:1: not JSON \(a number has more than 4,300 digits",
        ),
        ("is cut", lambda old: old[: len(old) // 2], r"config\.json:\d+: not JSON"),
        ("has a byte order mark", lambda old: b"\xef\xbb\xbf" + old, None),
        ("is UTF-16", lambda old: old.decode().encode("utf-16"), r"config\.json: not UTF-8"),
        ("has no sizes", "{}", r"config\.json: no architecture at all is not supported"),
        (
            "has a text as architectures",
            changed(architectures="LlamaForCausalLM"),
            r"config\.json: architectures",
        ),
        (
            "has a list of numbers as architectures",
            changed(architectures=[1]),
            r"config\.json: architectures",
        ),
        ("has null in architectures", changed(architectures=[None]), r"config\.json: architectures"),
        ("has an object as architectures", changed(architectures={"a": 1}), r"config\.json: architectures"),
        ("has hidden_size as text", changed(hidden_size="16"), r"config\.json: hidden_size is '16'"),
        ("has hidden_size 0", changed(hidden_size=0), r"config\.json: hidden_size"),
        ("has hidden_size -16", changed(hidden_size=-16), r"config\.json: hidden_size"),
        ("has hidden_size 16.5", changed(hidden_size=16.5), r"config\.json: hidden_size is 16\.5"),
        ("has hidden_size true", changed(hidden_size=True), r"config\.json: hidden_size is True"),
        ("has hidden_size as a list", changed(hidden_size=[16]), r"config\.json: hidden_size is \[16\]"),
        ("has no hidden_size", changed(hidden_size=...), r"config\.json: hidden_size missing"),
        ("has ten million layers", changed(num_hidden_layers=10**7), r"config\.json: num_hidden_layers"),
        ("has -1 layers", changed(num_hidden_layers=-1), r"config\.json: num_hidden_layers"),
        ("has no heads", changed(num_attention_heads=0, head_dim=...), r"config\.json: num_attention_heads"),
        ("has 1e30 heads", changed(num_attention_heads=1e30), r"config\.json: num_attention_heads"),
        ("has infinite hidden_size", changed(hidden_size=float("inf")), r"config\.json: hidden_size is inf"),
        ("has 3 key-value heads for 2", changed(num_key_value_heads=3), r"config\.json: num_"),
        ("has an odd head_dim", changed(head_dim=7), r"config\.json: .*head_dim"),
        ("has 10^12 tokens", changed(vocab_size=10**12), r"config\.json: vocab_size"),
        ("has vocab_size as text", changed(vocab_size="many"), r"config\.json: vocab_size is 'many'"),
        (
            "has too few embeddings",
            changed(vocab_size=100),
            r"4096 tokens, but the model has only 100 embeddings",
        ),
        ("has other weights", changed(hidden_size=32), r"model: \d+ tensors do not fit config\.json"),
        ("has more layers than weights", changed(num_hidden_layers=3), r"model: \d+ tensors missing"),
        (
            "has fewer layers than weights",
            changed(tie_word_embeddings=True),
            r"tie_word_embeddings to false",
        ),
        (
            "has hidden_act as a list",
            changed(hidden_act=["silu"]),
            r"config\.json: hidden_act is \['silu'\]",
        ),
        (
            "has rms_norm_eps as text",
            changed(rms_norm_eps="small"),
            r"config\.json: rms_norm_eps is 'small'",
        ),
        ("has max_position_embeddings 0", changed(max_position_embeddings=0), r"config\.json: max_position"),
        ("has rope_theta as text", changed(rope_theta="ten"), r"config\.json: rope_theta"),
        ("has rope_scaling as a list", changed(rope_scaling=[1]), r"config\.json: rope_scaling"),
        ("has rope_scaling as text", changed(rope_scaling="linear"), r"config\.json: rope_scaling"),
        (
            "has a rope factor as text",
            changed(rope_scaling={"rope_type": "linear", "factor": "two"}),
            r"config\.json: .*factor",
        ),
        (
            "has a rope factor of 0",
            changed(rope_scaling={"rope_type": "linear", "factor": 0}),
            r"config\.json: .*factor",
        ),
        (
            "has an unknown rope",
            changed(rope_scaling={"rope_type": "magic"}),
            r"config\.json: rope scaling 'magic'",
        ),
        (
            "has a rope kind as a list",
            changed(rope_scaling={"rope_type": ["linear"]}),
            r"config\.json: rope",
        ),
        ("has rope_parameters as text", changed(rope_parameters="x"), r"config\.json: rope_parameters"),
        ("has layer_types as a number", changed(layer_types=3), r"config\.json: layer_types"),
        (
            "has layer_types of lists",
            changed(layer_types=[["full_attention"]]),
            r"config\.json: layer_types",
        ),
        (
            "has a text as eos_token_id",
            changed(eos_token_id="</s>"),
            r"config\.json: eos_token_id is '</s>'",
        ),
        ("has an empty eos_token_id", changed(eos_token_id=[]), None),
        ("has an eos_token_id of lists", changed(eos_token_id=[[2]]), r"config\.json: eos_token_id"),
        ("has bos_token_id 10^9", changed(bos_token_id=10**9), None),
        (
            "has quantised weights",
            changed(quantization_config={"bits": 4}),
            r"config\.json: quantization_config",
        ),
        (
            "has FP8 weights",
            changed(quantization_config={"quant_method": "fp8"}),
            r"config\.json: quantization_config",
        ),
        ("has experts", changed(num_local_experts=8), r"config\.json: num_local_experts is 8"),
        ("has attention_bias as text", changed(attention_bias="no"), r"config\.json: attention_bias"),
        (
            "has tie_word_embeddings as text",
            changed(tie_word_embeddings="no"),
            r"config\.json: tie_word_embeddings",
        ),
        (
            "has sliding_window as text",
            lambda old: _mistral(sliding_window="wide")(old),
            r"config\.json: sliding_window",
        ),
        (
            "has sliding_window 0",
            lambda old: _mistral(sliding_window=0)(old),
            r"config\.json: sliding_window",
        ),
        (
            "is of another family",
            changed(architectures=["BertModel"]),
            r"config\.json: BertModel is not supported",
        ),
        (
            "has text_config as a list",
            changed(architectures=["Gemma3ForConditionalGeneration"], text_config=[]),
            r"config\.json: .*missing",
        ),
        (
            "has text_config as text",
            changed(architectures=["Gemma3ForConditionalGeneration"], text_config="x"),
            r"config\.json: text_config",
        ),
    ]
]
