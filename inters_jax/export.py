"""Export a training run as a Hugging Face model folder.

    python -m inters_jax.export --gin.MODEL_DIR=runs/mistral --gin.OUTPUT_DIR=exported/mistral
    python -m inters_jax.export --gin.MODEL_DIR=runs/lora --gin.OUTPUT_DIR=exported/adapter --gin.FORMAT=peft

The folder holds config.json, safetensors weights, the tokenizer, the chat template of training if there was
one, and a model card. `AutoModelForCausalLM.from_pretrained` of transformers loads it. A LoRA run is merged
into its base, or exported as an adapter that `peft.PeftModel.from_pretrained` loads on top of the base.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax

from inters_jax import __version__, run_folder
from inters_jax.command_line import run_command
from inters_jax.mesh import make_mesh
from inters_jax.models import prompt_record
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.hf import exported_tokenizer
from inters_jax.models.hf import folder as huggingface
from inters_jax.models.loading import LoadedModel, config_of, load_model
from inters_jax.models.lora import base as bases
from inters_jax.models.lora import peft
from inters_jax.settings.tools import ExportSettings
from seqio_tasks.base import read_text
from seqio_tasks.tokenizer import HuggingFaceTokenizer
from seqio_tasks.tokenizer_files import LoadedTokenizer
from seqio_tasks.tokenizer_files import load as load_tokenizer

CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- inters-jax
- information-retrieval
---

# {name}

{description}. Tuned on instructions for search with inters-jax {version}.

| | |
|---|---|
| family | {family} |
| hidden size, layers, heads (key/value) | {hidden}, {layers}, {heads} ({kv_heads}) |
| vocabulary, longest input | {vocabulary}, {longest} |
| dtype of the weights | {dtype} |
| fingerprint of the weights | `{fingerprint}` |

{prompts}

The scores of this model are the logits of its answers after such a prompt, so a program that ranks with it
must write these prompts itself. In vLLM, the pooling runner with `classifier_from_token=["No","Yes"]` scores
them. A `CrossEncoder` of sentence-transformers loads this folder, but with a wording and a head that were not
trained: do not rank with it.

## Settings of the run

{settings}
"""


ADAPTER_CARD = """---
library_name: peft
base_model: {base_model}
tags:
- inters-jax
- lora
---

# {name}

A LoRA adapter of rank {rank}, tuned on instructions for search with inters-jax {version}.

| | |
|---|---|
| base | {base} |
| stored in training as | {base_dtype} |
| fingerprint of the base | `{fingerprint}` |
| step | {step} |

{prompts}

An adapter trained on a quantised base gives slightly different logits on the base in full precision; the
merged export does not.

{serving}
"""


def export(settings: ExportSettings) -> Path:
    """Write a run as a Hugging Face model folder, or the adapter of a LoRA run as a PEFT folder."""
    model_dir, output_dir, dtype = settings.model_dir, settings.output_dir, settings.export_dtype
    if not run_folder.is_run(model_dir):
        raise ModelError(f"{model_dir}: not a run folder ({run_folder.MODEL}/config.json is missing)")
    chosen = run_folder.resolve_step(model_dir, settings.step)
    if settings.format == "peft":
        return export_adapter(Path(model_dir), Path(output_dir), chosen)
    # In host memory, whatever the accelerator is.
    host = make_mesh("fsdp=1", jax.local_devices(backend="cpu")[:1])
    loaded = load_model(model_dir, step=chosen, mesh=host)
    ends = ends_of_answers(Path(model_dir), loaded.config)
    if len(ends) > 1:  # the exported model must stop where an answer ends
        loaded.model.config = dataclasses.replace(loaded.config, stop_ids=ends)
    run = Path(model_dir)
    target = huggingface.save(
        loaded.model,
        output_dir,
        tokenizer=loaded.tokenizer_path,
        dtype=dtype,
        extra={"README.md": card(loaded, run, Path(output_dir).name, dtype)}
        | _prompt_files(run)
        | _tokenizer_files(run),
    )
    print(f"{loaded.description} -> {target}")
    return target


def export_adapter(run: Path, target: Path, step: int) -> Path:
    """Export the trained part of a LoRA run as a PEFT folder.

    Raises:
      ModelError: it is not a LoRA run, or the folder is not empty.
    """
    record = bases.record_of(run)
    if record is None:
        raise ModelError(f"{run}: not a LoRA run, it has no adapter; export it with FORMAT='merged'")
    config = config_of(run, step)
    factors = bases.factors_of(run, config, step)
    base, revision = record.base.for_libraries
    text = ADAPTER_CARD.format(
        name=target.name,
        base_model=base or record.base.name,
        base=record.base.name,
        rank=record.settings.rank,
        version=__version__,
        base_dtype=record.settings.base_dtype,
        fingerprint=record.fingerprint,
        step=step,
        prompts=_prompt_text(run),
        serving=_serving_text(record.settings.rank, peft.highest_rank(factors, config)),
    )
    extra = {"README.md": text} | _prompt_files(run) | _tokenizer_files(run)
    tokenizer = run / run_folder.MODEL if _has_tokenizer(run) else None
    peft.write(
        target,
        factors,
        config,
        record.settings,
        base_name=base,
        revision=revision,
        tokenizer=tokenizer,
        extra=extra,
    )
    print(f"{run.resolve().name}, step {step} -> {target}, an adapter of {record.base.name}")
    return target


def card(loaded: LoadedModel, run: Path, name: str, dtype: str) -> str:
    """The model card: the model, how to prompt it, and the settings of its training."""
    config = loaded.config
    operative = run / "operative_config.gin"
    settings = "The run folder has no operative_config.gin."
    if operative.is_file():
        settings = f"```\n{read_text(operative, ModelError).strip()}\n```"
    return CARD.format(
        name=name,
        description=loaded.description,
        version=__version__,
        family=config.family,
        hidden=config.hidden_size,
        layers=config.num_layers,
        heads=config.num_heads,
        kv_heads=config.num_kv_heads,
        vocabulary=config.vocab_size,
        longest=config.max_position,
        dtype=dtype,
        fingerprint=loaded.fingerprint,
        prompts=_prompt_text(run),
        settings=settings,
    )


def ends_of_answers(run: Path, config: DecoderConfig) -> tuple[int, ...]:
    """The tokens that end an answer: those of the model, and the end of a turn in the chat template."""
    ends = [config.eos_id, *config.stop_ids]
    folder = run / run_folder.MODEL
    prompts = prompt_record.read(folder)
    if prompts is not None and prompts.text is not None:
        vocabulary = HuggingFaceTokenizer(str(folder), chat_template=str(folder / prompt_record.TEMPLATE))
        ends += map(int, vocabulary.to_hf(vocabulary.end_ids))
    return tuple(dict.fromkeys(end for end in ends if end is not None))


def _prompt_files(run: Path) -> dict[str, str]:
    """The files of an exported folder that record how prompts were written in training."""
    prompts = prompt_record.read(run / run_folder.MODEL)
    return {} if prompts is None else prompts.files()


def _has_tokenizer(run: Path) -> bool:
    return (run / run_folder.MODEL / exported_tokenizer.TOKENIZER).is_file()


def _tokenizer_files(run: Path) -> dict[str, str]:
    """The tokenizer files to change in an exported folder, so that a text begins as in training.

    None with a chat template, which writes the beginning itself.
    """
    prompts = prompt_record.read(run / run_folder.MODEL)
    if not _has_tokenizer(run) or (prompts is not None and prompts.text is not None):
        return {}
    folder = run / run_folder.MODEL
    return exported_tokenizer.files_beginning_with(folder, _plain_vocabulary(folder).bos)


def _plain_vocabulary(folder: Path) -> LoadedTokenizer:
    file = folder / exported_tokenizer.TOKENIZER
    found = file.stat()
    return load_tokenizer(str(file), found.st_mtime_ns, found.st_size)


def _prompt_text(run: Path) -> str:
    """How prompts were written in training, for the model card."""
    folder = run / run_folder.MODEL
    prompts = prompt_record.read(folder)
    if prompts is not None and prompts.text is not None:
        return (
            f"A prompt is the user's turn of a conversation in `{prompt_record.TEMPLATE}`, and the answer is "
            "the assistant's turn, as in training. The template writes every control token, BOS included: "
            "encode its text with `add_special_tokens=False`."
        )
    start, end = "", ""
    if _has_tokenizer(run):
        vocabulary = _plain_vocabulary(folder)
        start = "A prompt begins with its text: there is no BOS token in front. "
        if vocabulary.bos is not None:
            start = (
                f"A prompt begins with the BOS token {_named(vocabulary, vocabulary.bos)}, as in training. "
                "The tokenizer of this folder adds it; do not write it into the text as well. "
            )
        if vocabulary.eos is not None:
            end = f" The answer ends with {_named(vocabulary, vocabulary.eos)}."
    return (
        f"{start}A prompt ends with one line break, which separates it from the answer, as in training.{end}"
    )


def _named(vocabulary: LoadedTokenizer, token: int) -> str:
    return f"`{vocabulary.tokenizer.id_to_token(token)}` ({token})"


def _serving_text(rank: int, highest: int) -> str:
    """What servers of adapters need to know, for the model card."""
    needed = f"vLLM needs `max_lora_rank` of at least {highest} to serve this adapter"
    if highest == rank:
        return f"{needed}."
    return (
        f"{needed}: the base fuses several linear maps into one module, and so their updates of rank {rank}."
    )


if __name__ == "__main__":
    run_command(export)
