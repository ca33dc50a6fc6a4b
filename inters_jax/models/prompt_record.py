"""What a model folder says about the prompts of its training: plain text, or inside which chat template.

    <run>/model/, and the folder that `export` writes:
      chat_template.jinja   the template, where a Hugging Face tokenizer looks for it
      inters_prompts.json   {"chat_template": {"from": "tokenizer", "sha256": ...}}, or null for plain prompts

A chat_template.jinja by itself says nothing: tokenizers bring one, whether a run used it or not. Only the
record beside it says that it was used, and commands that judge or serve a model follow it. A folder without a
record (a model of the hub, a run of an older version) has plain prompts unless a template is asked for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from inters_jax import paths
from inters_jax.data import provenance
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.loading import RUN_MODEL, is_run
from seqio_tasks.prompts import chat

RECORD = "inters_prompts.json"
TEMPLATE = "chat_template.jinja"


@dataclasses.dataclass(frozen=True)
class Prompts:
    """How the prompts of a training were written.

    text: of the chat template; None: plain prompts. source: "tokenizer", or the name of the file it was in.
    """

    text: str | None = None
    source: str = ""

    @classmethod
    def asked(cls, chat_template: str | None, tokenizer: str) -> Prompts:
        """What `train` and `prepare` mean by these settings, INTERS_CHAT_TEMPLATE included.

        Raises:
          MissingData: there is no such template.
        """
        chosen = provenance.chat_template_asked(chat_template)
        if chosen == provenance.PLAIN:
            return cls()
        source = chosen if chosen == "tokenizer" else Path(chosen).name
        return cls(chat.template_text(chosen, tokenizer), source)

    @property
    def sha256(self) -> str:
        """Of the template's text; "" for plain prompts."""
        return "" if self.text is None else _digest(self.text)

    def __str__(self) -> str:
        """
        >>> str(Prompts()), str(Prompts("{{ messages }}", "own.jinja"))
        ('plain prompts', 'the chat template f24189f08c85a1eb (own.jinja)')
        """
        return (
            "plain prompts" if self.text is None else f"the chat template {self.sha256[:16]} ({self.source})"
        )

    def files(self) -> dict[str, str]:
        """{file name: content} for a model folder."""
        template = None if self.text is None else {"from": self.source, "sha256": self.sha256}
        record = {RECORD: json.dumps({"chat_template": template}, indent=2) + "\n"}
        return record if self.text is None else {TEMPLATE: self.text, **record}

    def write(self, folder: Path) -> None:
        """Writes the record and the template, byte for byte, into a model folder."""
        for name, text in self.files().items():
            (folder / name).write_bytes(text.encode())


def read(folder: Path) -> Prompts | None:
    """The record of a model folder (`model` of a run, or an exported one); None where there is none.

    Raises:
      ModelError: the record cannot be read, or the template beside it is not the one of training.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))["chat_template"]
        source, sha256 = ("", "") if said is None else (said["from"], said["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: not the record of a training's prompts ({error!r}); remove it") from error
    if said is None:
        return Prompts()
    template = folder / TEMPLATE
    text = template.read_bytes().decode() if template.is_file() else None
    if text is None or _digest(text) != sha256:
        raise ModelError(
            f"{template}: {'missing' if text is None else 'not the text'} with which the model was trained; "
            f"put it back, or remove {RECORD} and say CHAT_TEMPLATE yourself"
        )
    return Prompts(text, source)


def of_model(source: Any) -> Prompts | None:
    """The record of whatever names a model: a run, a folder, a hub name; None where there is none."""
    return None if isinstance(source, DecoderConfig) else read(_folder(source))


def chat_template_of(
    source: Any, given: str | None = None, tokenizer: str | Path | None = None
) -> str | None:
    """The chat template for a model, as `seqio_tasks.settings` takes it; None: whatever the settings say.

    What is given is taken; where that is not what the model was trained with, a line says so.

    Args:
      source: the model.
      given: "none", "tokenizer", the path of a template, or None for the one of training.
      tokenizer: instead of the model's own, for a template of "tokenizer".
    """
    trained = of_model(source)
    if trained is None:
        return given
    folder = _folder(source)
    if given is None:
        return provenance.PLAIN if trained.text is None else os.fspath(folder / TEMPLATE)
    asked = Prompts.asked(given, str(tokenizer or folder))
    if asked.sha256 != trained.sha256:
        print(
            f"CHAT_TEMPLATE={given!r} gives {asked}, but {source} was trained with {trained}: it sees other "
            "prompts than in training. CHAT_TEMPLATE=None follows the training",
            flush=True,
        )
    return given


def _folder(source: str | Path) -> Path:
    source = paths.localized(source)
    return Path(source) / RUN_MODEL if is_run(source) else huggingface.folder_of(source)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
