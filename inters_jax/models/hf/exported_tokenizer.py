"""Make the tokenizer of an exported folder begin a text as training does.

Training puts BOS in front of every sequence and nothing else around it. Programs that read an exported folder
(transformers, vLLM, lm-eval) do what the post-processor of tokenizer.json says, and for many base models it
adds no BOS. The classes of some models rebuild the post-processor from tokenizer_config.json, so a corrected
folder names the class that takes tokenizer.json as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from inters_jax.models.config import ModelError
from seqio_tasks.base import read_json_object
from seqio_tasks.tokenizer_files import read_tokenizer

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
GENERIC_CLASS = "PreTrainedTokenizerFast"
# It only moves the offsets of tokens.
_WITHOUT_TOKENS = ("ByteLevel",)


def files_beginning_with(folder: Path, bos: int | None) -> dict[str, str]:
    """The tokenizer files of a folder that must change so that a text begins with `bos`: {name: content}.

    Args:
      folder: holds tokenizer.json, and may hold tokenizer_config.json.
      bos: Hugging Face id of the token in front of a text; None: there is none.

    Raises:
      UserError: a file cannot be read, or tokenizer.json has no such token.
    """
    opened = read_tokenizer(folder / TOKENIZER)
    settings = read_json_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    wanted = {"add_bos_token": bos is not None, "add_eos_token": False}
    stated = {name: settings[name] for name in wanted if settings.get(name) is not None}
    if _begins_with(opened, bos) and all(stated[name] == wanted[name] for name in stated):
        return {}
    description = read_json_object(folder / TOKENIZER)
    description["post_processor"] = _post_processor(description.get("post_processor"), opened, bos, folder)
    return {
        TOKENIZER: json.dumps(description, ensure_ascii=False, indent=2) + "\n",
        SETTINGS: json.dumps(settings | wanted | {"tokenizer_class": GENERIC_CLASS}, indent=2) + "\n",
    }


def _begins_with(tokenizer: Tokenizer, bos: int | None) -> bool:
    """Whether the tokenizer adds this token in front of a text, and no other token."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    start = [] if bos is None else [bos]
    return all(
        tokenizer.encode(text).ids == start + tokenizer.encode(text, add_special_tokens=False).ids
        for text in ("yes", "two words")
    )


def _post_processor(
    present: Mapping[str, Any] | None, tokenizer: Tokenizer, bos: int | None, folder: Path
) -> dict[str, Any] | None:
    """The present post-processor, with a template for BOS in place of what adds tokens."""
    steps = [] if present is None else [present]
    if present is not None and present["type"] == "Sequence":
        steps = present["processors"]
    kept = [dict(step) for step in steps if step["type"] in _WITHOUT_TOKENS]
    if bos is not None:
        kept.append(_template(tokenizer, bos, folder))
    if len(kept) > 1:
        return {"type": "Sequence", "processors": kept}
    return kept[0] if kept else None


def _template(tokenizer: Tokenizer, bos: int, folder: Path) -> dict[str, Any]:
    name = tokenizer.id_to_token(bos)
    if name is None:
        raise ModelError(f"{folder / TOKENIZER}: has no token {bos}, with which sequences begin")
    start = {"SpecialToken": {"id": name, "type_id": 0}}
    first, second = ({"Sequence": {"id": place, "type_id": 0}} for place in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [start, first],
        "pair": [start, first, second],
        "special_tokens": {name: {"id": name, "ids": [bos], "tokens": [name]}},
    }
