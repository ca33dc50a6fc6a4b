"""The record in a model folder of how prompts were written in training: plain, or in a chat template.

    <run>/model/, and the folder that `export` writes:
      chat_template.jinja   the template, where Hugging Face tokenizers look for it
      inters_prompts.json   {"chat_template": {"from": "tokenizer", "sha256": ...}}, or null for plain prompts

A chat_template.jinja alone does not mean that training used it, because tokenizers come with one. Only the
record does, and commands that evaluate or serve a model follow it. A folder without a record (a hub model, a
run of an older version) has plain prompts unless a template is given.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from inters_jax import paths, run_folder
from inters_jax.data import provenance
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.hf import folder as huggingface
from seqio_tasks.prompts import chat

RECORD = "inters_prompts.json"
TEMPLATE = "chat_template.jinja"


@dataclasses.dataclass(frozen=True)
class Prompts:
    """How prompts are written.

    Args:
      text: of the chat template; None: plain prompts.
      source: of the template: "tokenizer", or the name of a file.
    """

    text: str | None = None
    source: str = ""

    @classmethod
    def asked(cls, chat_template: str | None, tokenizer: str) -> Prompts:
        """The prompts that these settings of `train` and `prepare` select, INTERS_CHAT_TEMPLATE included.

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
        """The SHA-256 of the template's text; "" for plain prompts."""
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
        """The files of a model folder that record the prompts: {name: content}."""
        template = None if self.text is None else {"from": self.source, "sha256": self.sha256}
        record = {RECORD: json.dumps({"chat_template": template}, indent=2) + "\n"}
        return record if self.text is None else {TEMPLATE: self.text, **record}

    def write(self, folder: Path) -> None:
        """Write these files, byte for byte, into a model folder."""
        for name, text in self.files().items():
            (folder / name).write_bytes(text.encode())


def read(folder: Path) -> Prompts | None:
    """Read the record of a model folder (`model` of a run, or an exported one); None if there is none.

    Raises:
      ModelError: the record cannot be read, or the template is not the one of training.
    """
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))["chat_template"]
        source, sha256 = ("", "") if said is None else (said["from"], said["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{file}: not a record of prompts ({error!r}); remove it") from error
    if said is None:
        return Prompts()
    template = folder / TEMPLATE
    text = template.read_bytes().decode() if template.is_file() else None
    if text is None or _digest(text) != sha256:
        raise ModelError(
            f"{template}: {'missing' if text is None else 'changed'}, but the model was trained with it; "
            f"restore it, or remove {RECORD} and set CHAT_TEMPLATE"
        )
    return Prompts(text, source)


def of_model(source: Any) -> Prompts | None:
    """The record of a model source (a run, folder or hub name); None if there is none."""
    return None if isinstance(source, DecoderConfig) else read(_folder(source))


def chat_template_of(
    source: Any, given: str | None = None, tokenizer: str | Path | None = None
) -> str | None:
    """The chat template for a model, as a value for `seqio_tasks.settings`; None leaves the setting as it is.

    A given template is used, and a line is printed if the model was not trained with it.

    Args:
      source: the model.
      given: "none", "tokenizer", the path of a template, or None for the one of training.
      tokenizer: replaces the model's own for "tokenizer".
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
            f"CHAT_TEMPLATE={given!r} gives {asked}, but {source} was trained with {trained}: its prompts "
            "differ from those of training. CHAT_TEMPLATE=None uses the template of training",
            flush=True,
        )
    return given


def _folder(source: str | Path) -> Path:
    source = paths.localized(source)
    return Path(source) / run_folder.MODEL if run_folder.is_run(source) else huggingface.folder_of(source)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
