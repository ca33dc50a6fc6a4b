"""scripts/compare_with_trainer.py: this project and transformers.Trainer train alike, on a tiny Llama."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inters_jax.data import provenance
from inters_jax.data.loader import PackedBatches
from inters_jax.data.token_store import MANIFEST, TokenStore, fingerprint, write_json
from inters_jax.settings.training import OptimizerSettings
from seqio_tasks import catalog, row_source, settings
from seqio_tasks.prompts.encoding import encode_rows
from seqio_tasks.tokenizer import HuggingFaceTokenizer

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
script = importlib.import_module("compare_with_trainer")

PAIR = catalog.pair("inters_query_intent_classification_orcas_i")
LENGTH = 128


def sample_sequences(tokenizer: Path) -> list[tuple[list[int], int, str]]:
    """Examples of the packaged sample in tokens, without SeqIO: (tokens, target start, id)."""
    config = dataclasses.replace(settings.Settings(), tokenizer=str(tokenizer))
    vocabulary = HuggingFaceTokenizer(str(tokenizer))
    rows = row_source.load_rows(PAIR, "train", raw_dir=config.raw_dir).rows[:60]
    assert vocabulary.bos_id is not None
    return [
        (
            [vocabulary.bos_id, *one.input_ids.tolist(), *one.target_ids.tolist()],
            1 + len(one.input_ids),
            one.example.example_id,
        )
        for one in encode_rows(rows, PAIR, vocabulary, config, max_length=LENGTH)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    torch = pytest.importorskip("torch", reason="Trainer trains with torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for so small a model several would only wait, and busily
    shape = LlamaConfig(
        vocab_size=4096, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=LENGTH, tie_word_embeddings=True, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    for file in Path(settings.Settings().tokenizer).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def store(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as `prepare` writes it, as far as `train` looks at it when sources are not checked."""
    folder: Path = tmp_path_factory.mktemp("data") / "store"
    sequences = sample_sequences(model)
    TokenStore.create(
        folder, {PAIR.name: [sequences]}, vocab_size=4096, bos_id=1, eos_id=2, max_length=LENGTH
    )
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["settings"] = {
        "name": PAIR.name, "split": "train", "max_length": LENGTH, "seed": 3, "passes": 1, "max_shots": 5,
        "max_cut": 0.25, "epoch_examples": None,
    }  # fmt: skip
    manifest["tokenizer"] |= provenance.tokenizer_identity(str(model)) or {}
    write_json(folder / MANIFEST, manifest | {"fingerprint": fingerprint(manifest)})
    return folder


def test_a_packed_batch_is_taken_apart_into_its_examples(tmp_path: Path) -> None:
    tokenizer = Path(settings.Settings().tokenizer)
    sequences = sample_sequences(tokenizer)
    store = TokenStore.create(tmp_path / "store", {"task": [sequences]}, vocab_size=4096, max_length=LENGTH)
    batches = PackedBatches(store, batch_rows=4, max_length=LENGTH, seed=0, epochs=1)
    found: list[Any] = []
    for step in range(batches.total_steps or 0):
        examples = list(script.unpacked(batches.batch(step)))
        assert len(examples) == batches.statistics(step)["examples"]
        found += [(tokens.tolist(), start) for tokens, start in examples]
    assert sorted(found) == sorted((tokens, start) for tokens, start, _ in sequences)


@pytest.mark.slow
def test_losses_are_those_of_trainer(
    model: Path, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, list[float]]] = []
    whole = script.trainer_losses

    def noted(given: Any) -> list[float]:
        seen.append((given, whole(given)))
        return seen[-1][1]

    monkeypatch.setattr(script, "trainer_losses", noted)
    arguments = ["--model", str(model), "--store", str(store), "--steps=6", "--learning_rate=0.01"]
    more = ["--gin.WARMUP=2", "--gin.DECAY_NORMS=False"]
    assert script.main([*arguments, "--tolerance=1e-5", *more]) == 0
    printed = capsys.readouterr().out
    assert "| 6    |" in printed and "within the tolerance of 1e-05" in printed
    ((given, losses),) = seen
    assert losses[0] - losses[-1] > 0.5  # had nothing been learned, any two optimisers would agree
    # What would be noticed: each of these alone changes the losses by far more than the tolerance.
    optimizer = given[OptimizerSettings]
    for change in ({"schedule": "constant"}, {"weight_decay": 0.0}, {"decay_norms": True}, {"clip": None}):
        other = whole(given | {OptimizerSettings: dataclasses.replace(optimizer, **change)})
        assert np.abs(np.subtract(other, losses)).max() > 1e-4, change


def test_losses_that_differ_or_are_no_numbers_do_not_agree() -> None:
    table, agree = script.compared([2.0, 1.5], [2.0, 1.498], 1e-3)
    assert not agree and "Largest difference 2.0e-03, beyond" in table.markdown()
    assert script.compared([2.0, 1.5], [2.0, 1.4995], 1e-3)[1]
    assert not script.compared([float("nan"), 1.5], [2.0, 1.5], 1e-3)[1]


@pytest.mark.slow
def test_what_trainer_is_not_given_is_refused_in_one_line(model: Path, store: Path) -> None:
    arguments = ["--model", str(model), "--store", str(store)]
    with pytest.raises(SystemExit, match="OPTIMIZER is not AdamW"):
        script.main([*arguments, "--gin.OPTIMIZER=@Lion()"])
    with pytest.raises(SystemExit, match="LORA is set"):
        script.main([*arguments, "--gin.LORA=@LoRA()"])
    with pytest.raises(SystemExit, match="did you mean BATCH_SIZE"):
        script.main([*arguments, "--gin.BATCH_SIZ=2"])
