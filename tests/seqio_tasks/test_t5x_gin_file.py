"""docs/t5x_inters.gin, read by the real gin and SeqIO; small modules stand in for T5X."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gin
import pytest
import seqio

from seqio_tasks import settings
from seqio_tasks.vocabularies import HuggingFaceVocabulary

FILE = Path(__file__).parents[2] / "docs" / "t5x_inters.gin"
SAMPLE = Path(settings.__file__).parent / "sample"


def train(
    model: Any,
    model_dir: str,
    train_dataset_cfg: Any,
    train_eval_dataset_cfg: Any,
    infer_eval_dataset_cfg: Any,
    total_steps: int,
    inference_evaluator_cls: Any = None,
) -> dict[str, Any]:
    """In place of `t5x.train.train`."""
    return dict(locals())


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What `train` gets from the file, with the tokenizer and the data of the sample."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "t5x_stand_in"))
    monkeypatch.setattr(sys.modules["__main__"], "train", train, raising=False)
    monkeypatch.setattr(train, "__module__", "__main__")
    tokenizer = str(SAMPLE / "tokenizer")
    gin.clear_config()
    with settings.override(raw_dir=str(SAMPLE), tokenizer=tokenizer, cache_dir=str(tmp_path)):
        gin.parse_config_files_and_bindings(
            [str(FILE)], [f"TOKENIZER = {tokenizer!r}", "MODEL_DIR = '/runs/t5x'", "BATCH_SIZE = 2"]
        )
        yield gin.get_configurable(train)()
    gin.clear_config()


def test_the_gin_file_is_complete_and_evaluates(given: dict[str, Any], tmp_path: Path) -> None:
    data = {name: given[f"{name}_dataset_cfg"] for name in ("train", "train_eval", "infer_eval")}
    for config in data.values():
        splits = seqio.get_mixture_or_task(config.mixture_or_task_name).splits
        assert config.split in splits and config.batch_size == 2 and not config.use_cached
    assert data["train"].mixture_or_task_name == "inters" and data["train"].pack
    assert data["infer_eval"].task_feature_lengths is None and not data["infer_eval"].pack
    evaluator = given["inference_evaluator_cls"](
        mixture_or_task_name=data["infer_eval"].mixture_or_task_name,
        feature_converter=given["model"].given["feature_converter_cls"](pack=False),
        eval_split=data["infer_eval"].split,
        log_dir=str(tmp_path),
    )
    (task,) = evaluator.eval_tasks
    assert task.score_metric_fns and len(list(evaluator.cached_task_datasets[task.name])) > 0


def test_the_model_has_the_vocabulary_of_the_tasks_and_begins_with_bos(given: dict[str, Any]) -> None:
    model, config = given["model"].given, given["train_eval_dataset_cfg"]
    features = seqio.get_mixture_or_task(config.mixture_or_task_name).output_features
    assert isinstance(model["vocabulary"], HuggingFaceVocabulary)
    assert all(feature.vocabulary == model["vocabulary"] for feature in features.values())
    dataset = seqio.get_dataset(
        config.mixture_or_task_name,
        task_feature_lengths=config.task_feature_lengths,
        dataset_split=config.split,
        feature_converter=model["feature_converter_cls"](pack=config.pack),
    )
    batch = next(dataset.take(1).as_numpy_iterator())
    assert batch["decoder_input_tokens"][0] == 1
    assert 0 < batch["decoder_loss_weights"].sum() < (batch["decoder_target_tokens"] > 0).sum()
