"""What other programs do with exported folders: where a text begins, who may read the files, and cards."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from command_stand_ins import export
from flax import nnx
from model_stand_ins import TOKENIZER, tiny_shape
from tokenizers import Tokenizer, processors

from inters_jax.export import _serving_text
from inters_jax.models.config import DecoderConfig
from inters_jax.models.hf import exported_tokenizer
from inters_jax.models.hf.config_json import config_from_hf
from inters_jax.models.hf.folder import save, save_tensors
from inters_jax.models.loading import load_model
from inters_jax.models.lora import peft
from inters_jax.models.lora.layers import LoRA
from inters_jax.models.prompt_record import Prompts
from inters_jax.training.initialise import write_model_folder
from seqio_tasks.tokenizer import HuggingFaceTokenizer

SHAPE = tiny_shape(hidden_size=16, intermediate_size=24, num_layers=1, max_position=64)
(YES,) = Tokenizer.from_file(f"{TOKENIZER}/tokenizer.json").encode("yes", add_special_tokens=False).ids
CHAT = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{{ eos_token }}{% endfor %}"
BYTES = processors.ByteLevel(trim_offsets=False)
START = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
END = processors.TemplateProcessing(single="$A </s>", pair="$A $B </s>", special_tokens=[("</s>", 2)])


def tokenizer_folder(folder: Path, post_processor: object = None, **settings: object) -> Path:
    shutil.copytree(TOKENIZER, folder)
    opened = Tokenizer.from_file(str(folder / "tokenizer.json"))
    if post_processor is not None:
        opened.post_processor = post_processor
        opened.save(str(folder / "tokenizer.json"))
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return folder


def run_folder(folder: Path, tokenizer: Path, prompts: Prompts, config: DecoderConfig = SHAPE) -> Path:
    write_model_folder(folder, config, str(tokenizer), prompts)
    params = nnx.to_pure_dict(nnx.state(load_model(config, seed=3).model, nnx.Param))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((folder / "checkpoints" / "1" / "params").absolute(), params)
    return folder


def test_an_export_computes_from_text_what_training_does(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    run = run_folder(tmp_path / "run", TOKENIZER, Prompts())
    target = export(str(run), str(tmp_path / "out"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(target)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(target).eval()
    ours = HuggingFaceTokenizer(str(target), chat_template="none")
    text = "is this relevant? yes or no\n"
    ids = [int(ours.to_hf([ours.bos_id])[0]), *map(int, ours.to_hf(ours.encode(text)))]
    assert ids[0] == 1 and tokenizer("yes").input_ids == [1, YES]
    with torch.no_grad():
        expected = theirs(**tokenizer(text, return_tensors="pt")).logits.numpy()
    tokens = np.asarray([ids])
    got = load_model(run).model(tokens, np.ones_like(tokens), np.arange(len(ids))[None])
    np.testing.assert_allclose(got, expected, atol=5e-5)
    card = (target / "README.md").read_text()
    assert (
        "A prompt begins with the BOS token `<s>` (1)" in card and "The answer ends with `</s>` (2)." in card
    )


@pytest.mark.parametrize("post_processor", [None, START, END, BYTES, processors.Sequence([BYTES, END])])
@pytest.mark.parametrize("settings", [{}, {"tokenizer_class": "GPTNeoXTokenizerFast"}, {"bos_token": None}])
def test_a_text_begins_as_in_training_whatever_the_tokenizer_did(tmp_path, post_processor, settings):
    transformers = pytest.importorskip("transformers")
    folder = tokenizer_folder(tmp_path / "tokenizer", post_processor, **settings)
    bos = None if "bos_token" in settings else 1
    for name, text in exported_tokenizer.files_beginning_with(folder, bos).items():
        (folder / name).write_text(text)
    assert exported_tokenizer.files_beginning_with(folder, bos) == {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("yes").input_ids == ([YES] if bos is None else [1, YES])
    kept = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert kept.encode("yes", "no").ids == [*([] if bos is None else [1]), YES, *kept.encode("no").ids[-1:]]


def test_a_tokenizer_that_begins_as_training_does_is_copied(tmp_path):
    tokenizer = tokenizer_folder(tmp_path / "tokenizer", START, add_bos_token=True)
    target = export(str(run_folder(tmp_path / "run", tokenizer, Prompts())), str(tmp_path / "out"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (target / name).read_bytes() == (tokenizer / name).read_bytes()


def test_a_chat_template_writes_bos_itself(tmp_path):
    run = run_folder(tmp_path / "run", TOKENIZER, Prompts(CHAT, "own.jinja"))
    target = export(str(run), str(tmp_path / "out"))
    assert (target / "tokenizer.json").read_bytes() == (TOKENIZER / "tokenizer.json").read_bytes()
    assert (
        "BOS included: encode its text with `add_special_tokens=False`" in (target / "README.md").read_text()
    )


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_exported_files_have_the_permissions_of_new_files(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        save(load_model(SHAPE, seed=3).model, tmp_path / "model", tokenizer=TOKENIZER)
        save_tensors({"a": np.zeros(2, np.float32)}, tmp_path / "adapter.safetensors")
    finally:
        os.umask(before)
    files = [*(tmp_path / "model").iterdir(), tmp_path / "adapter.safetensors"]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == {
        path.name: oct(mode) for path in files
    }
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o777 & ~mask


def test_the_card_of_an_adapter_names_the_rank_that_vllm_needs():
    config = config_from_hf(
        {"model_type": "gpt_neox", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
    )  # fmt: skip
    factor = peft.Factor(np.zeros((2, 32, 8), "f4"), np.zeros((2, 8, 32), "f4"), np.ones(2, "f4"))
    one = peft.Factors({("layers", "attention", "query"): factor})
    fused = peft.Factors({("layers", "attention", part): factor for part in ("query", "key", "value")})
    assert (peft.highest_rank(one, config), peft.highest_rank(fused, config)) == (8, 24)
    assert _serving_text(8, 8) == "vLLM needs `max_lora_rank` of at least 8 to serve this adapter."
    assert re.search(r"at least 24 .*fuses several linear maps .* of rank 8", _serving_text(8, 24))


def test_an_adapter_folder_brings_the_tokenizer_of_the_run(tmp_path):
    config = config_from_hf({"model_type": "llama", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4})  # fmt: skip
    factor = peft.Factor(np.zeros((2, 32, 8), "f4"), np.zeros((2, 8, 32), "f4"), np.ones(2, "f4"))
    factors = peft.Factors({("layers", "attention", "query"): factor})
    peft.write(
        tmp_path / "out", factors, config, LoRA(rank=8), base_name=None, tokenizer=TOKENIZER, extra={"a": "b"}
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json", "a",
    }  # fmt: skip
