"""Hostile tokenizers and chat templates."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hostile.cases import DEEP, NOT_TEXT, Act, Case, changed, with_model

from seqio_tasks.prompts import chat
from seqio_tasks.tokenizer import HuggingFaceTokenizer


def _tokenizer(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], str]:
    def changed(old: bytes) -> str:
        content = json.loads(old)
        change(content)
        return json.dumps(content)

    return changed


TOKENIZER = [
    Case(
        "tokenizer.json is cut",
        with_model("tokenizer.json", lambda old: old[: len(old) // 2]),
        r"tokenizer\.json: cannot be read as a tokenizer",
    ),
    Case(
        "tokenizer.json is empty",
        with_model("tokenizer.json", b""),
        r"tokenizer\.json: cannot be read as a tokenizer",
    ),
    Case(
        "tokenizer.json is a list",
        with_model("tokenizer.json", "[]"),
        r"tokenizer\.json: cannot be read as a tokenizer",
    ),
    Case(
        "tokenizer.json is an object",
        with_model("tokenizer.json", "{}"),
        r"tokenizer\.json: cannot be read as a tokenizer",
    ),
    Case(
        "tokenizer.json is not UTF-8",
        with_model("tokenizer.json", NOT_TEXT),
        r"tokenizer\.json: cannot be read as a tokenizer",
    ),
    Case(
        "tokenizer.json is nested too deeply",
        with_model("tokenizer.json", DEEP),
        r"tokenizer\.json: cannot be read as a tokenizer",
    ),
    Case(
        "tokenizer.json has no model",
        with_model("tokenizer.json", _tokenizer(lambda c: c.pop("model"))),
        r"tokenizer\.json: cannot be read as a tokenizer",
    ),
    Case(
        "tokenizer.json has an empty vocabulary",
        with_model(
            "tokenizer.json",
            _tokenizer(lambda c: c.update(model={"type": "BPE", "vocab": {}, "merges": []}, added_tokens=[])),
        ),
        r"tokenizer\.json: ",
    ),
    Case(
        "tokenizer.json has added tokens of text",
        with_model("tokenizer.json", _tokenizer(lambda c: c.update(added_tokens=["<s>"]))),
        r"tokenizer\.json: cannot be read as a tokenizer",
    ),
    Case(
        "tokenizer.json has a merge of unknown parts",
        with_model("tokenizer.json", _tokenizer(lambda c: c["model"].update(merges=["zz yy"]))),
        r"tokenizer\.json: cannot be read as a tokenizer",
    ),
    Case(
        "tokenizer.json is missing",
        with_model("tokenizer.json", None),
        r"came without a tokenizer; set TOKENIZER",
    ),
    Case(
        "tokenizer_config.json is a list",
        with_model("tokenizer_config.json", "[]"),
        r"tokenizer_config\.json: a JSON list, expected an object",
    ),
    Case(
        "tokenizer_config.json is not UTF-8",
        with_model("tokenizer_config.json", NOT_TEXT),
        r"tokenizer_config\.json: not UTF-8",
    ),
    Case(
        "tokenizer_config.json is cut",
        with_model("tokenizer_config.json", '{"eos_token": "</s'),
        r"tokenizer_config\.json:1: not JSON",
    ),
    Case(
        "tokenizer_config.json has a number as token",
        with_model("tokenizer_config.json", changed(eos_token=2)),
        r"tokenizer_config\.json: eos_token is 2",
    ),
    Case(
        "tokenizer_config.json has a list as token",
        with_model("tokenizer_config.json", changed(eos_token=["</s>"])),
        r"tokenizer_config\.json: eos_token is \['</s>'\]",
    ),
    Case(
        "tokenizer_config.json has an empty token object",
        with_model("tokenizer_config.json", changed(eos_token={})),
        r"tokenizer_config\.json: eos_token is \{\}",
    ),
    Case(
        "tokenizer_config.json names an unknown token",
        with_model("tokenizer_config.json", changed(eos_token="<nope>")),
        r"has no token '<nope>'",
    ),
    Case(
        "special_tokens_map.json is null",
        with_model("special_tokens_map.json", "null"),
        r"special_tokens_map\.json: a JSON null",
    ),
    Case(
        "generation_config.json is a number",
        with_model("generation_config.json", "3"),
        r"generation_config\.json: a JSON number",
    ),
    Case(
        "TOKENIZER is a folder without one",
        lambda place: place.rerank(TOKENIZER=place.write("t/a.txt", "x").parent),
        r"no tokenizer\.json",
    ),
    Case(
        "TOKENIZER is missing",
        lambda place: place.rerank(TOKENIZER=place.folder / "none"),
        r"none' is no file or folder",
    ),
    Case(
        "TOKENIZER is text",
        lambda place: place.rerank(TOKENIZER=place.write("t.json", "words")),
        r"t\.json: cannot be read as a tokenizer",
    ),
    Case(
        "prompts record is a list",
        with_model("inters_prompts.json", "[]"),
        r"inters_prompts\.json: not a record of prompts",
    ),
    Case(
        "prompts record is a list inside",
        with_model("inters_prompts.json", '{"chat_template": [1]}'),
        r"inters_prompts\.json: not a record of prompts",
    ),
    Case(
        "prompts record is not UTF-8",
        with_model("inters_prompts.json", NOT_TEXT),
        r"inters_prompts\.json: not a record of prompts",
    ),
    Case(
        "prompts record without its template",
        with_model("inters_prompts.json", '{"chat_template": {"from": "x", "sha256": "0"}}'),
        r"chat_template\.jinja: missing",
    ),
]

MESSAGES = "{% for m in messages %}[{{ m.role }}]{{ m.content }}</s>{% endfor %}"


def _template(text: bytes | str, name: str = "t.jinja") -> Act:
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
        (
            "indexes beyond the end",
            "{{ messages[7].content }}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
        ("calls what is no function", "{{ messages() }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("includes a file", "{% include '/etc/passwd' %}", r"t\.jinja: .*chat template cannot be rendered"),
        ("reaches for classes", "{{ ''.__class__.__mro__ }}", r"chat template"),
        ("changes the messages", "{{ messages.append(1) }}", r"t\.jinja: .*chat template cannot be rendered"),
        (
            "raises an error",
            "{{ raise_exception('no') }}",
            r"t\.jinja: .*chat template cannot be rendered: no",
        ),
        ("has nested loops", _loops(4, "x"), r"t\.jinja: .*chat template cannot be rendered"),
        ("has nested empty loops", _loops(4), r"t\.jinja: .*chat template cannot be rendered"),
        ("has a huge string", "{{ 'x' * 10000000000 }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("has a huge list", "{{ [1] * 10000000000 }}", r"t\.jinja: .*chat template cannot be rendered"),
        ("has a huge number", "{{ 9 ** 99999 ** 3 }}", r"t\.jinja: .*chat template cannot be rendered"),
        (
            "pads to a huge string",
            "{{ 'x'.ljust(10000000000) }}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
        (
            "centers in a huge string",
            "{{ 'x' | center(10000000000) }}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
        (
            "formats a huge string",
            "{{ '%10000000000d' % 1 }}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
        (
            "formats a huge text",
            "{{ '{:10000000000}'.format(1) }}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
        (
            "repeats by a filter",
            "{{ ('x' * 90000) | replace('x', 'y' * 90000) }}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
        (
            "repeats by a method",
            "{{ ('y' * 90000).join(['x'] * 90000) }}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
        (
            "doubles a text",
            "{% set n = namespace(x='xx') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
        (
            "calls itself",
            "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
        ("writes each message twice", MESSAGES * 2, r"t\.jinja: .*chat template writes a message 2 times"),
        (
            "has deep parentheses",
            "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
            r"t\.jinja: .*chat template cannot be rendered",
        ),
    ]
] + [
    Case(
        "chat template file is missing",
        lambda place: place.rerank(CHAT_TEMPLATE=place.folder / "no.jinja"),
        r"no\.jinja: no such chat template",
    ),
    Case(
        "chat template file is a list", _template("[]", "t.json"), r"t\.json: a JSON list, expected an object"
    ),
    Case(
        "chat template file has a number",
        _template('{"chat_template": 3}', "t.json"),
        r"t\.json: has no chat template",
    ),
    Case(
        "chat template file has nameless templates",
        _template('{"chat_template": [1, {"a": 2}]}', "t.json"),
        r"t\.json: ",
    ),
    Case(
        "chat template file is a folder",
        lambda place: place.rerank(CHAT_TEMPLATE=place.folder),
        r"no such chat template",
    ),
    Case(
        "chat template of a tokenizer without one",
        lambda place: place.rerank(CHAT_TEMPLATE="tokenizer"),
        r"has no chat template",
    ),
    Case(
        "chat template renders as in training",
        lambda place: (
            HuggingFaceTokenizer(
                place.model,
                chat_template=str(
                    place.write("t.jinja", MESSAGES + "{% if add_generation_prompt %}[assistant]{% endif %}")
                ),
            ).chat_format.turns
        ),
        value=chat.Turns("[user]", "</s>[assistant]", "", "</s>", False, False),
    ),
]

CASES = [*TOKENIZER, *TEMPLATES]
