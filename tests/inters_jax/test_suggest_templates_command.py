"""scripts/suggest_templates.py with a model of ours, from the command line to the review file."""

import importlib
import sys
from pathlib import Path

import pytest
import yaml
from model_stand_ins import tiny_model

from inters_jax.models.loading import load_model

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
suggest_templates = importlib.import_module("suggest_templates")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    small = {"hidden_size": 16, "intermediate_size": 24, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1}
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", max_position=4096, **small)


def run(model, output, *arguments):
    given = ["query_expansion", "--model_dir", str(model), "--output", str(output)]
    return suggest_templates.main([*given, *arguments])


def test_what_a_random_model_says_is_refused_and_shown(model, tmp_path, capsys):
    output = tmp_path / "review.yaml"
    assert run(model, output, "--dataset=gov2", "--max_new_tokens=8", "--requests=2") == 1
    text = output.read_text()
    assert yaml.safe_load(text) == {"task": "query_expansion", "datasets": {}}
    assert (
        text.count("# refused (gov2)") == 2
        and "gov2             0 to review, 2 refused" in capsys.readouterr().out
    )
    assert run(model, output) == 1
    assert "replace it with --overwrite" in capsys.readouterr().err
    assert run(tmp_path / "nowhere", tmp_path / "other.yaml") == 1
    assert "nowhere" in capsys.readouterr().err and not (tmp_path / "other.yaml").exists()


def test_the_prompt_has_the_tokens_of_training(model):
    loaded = load_model(model)
    local = suggest_templates.LocalModel(str(model), max_new_tokens=4)
    ids = local.tokens("Write a template.")
    assert ids[0] == loaded.bos_id and loaded.tokenizer.decode(ids[1:]) == "Write a template.\n"
    assert isinstance(local("Write a template."), str)
