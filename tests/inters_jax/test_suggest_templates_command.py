"""suggest_templates: a model of ours asked for templates, from the command line to the review file."""

import gin
import pytest
import yaml
from model_stand_ins import tiny_model

from inters_jax import suggest_templates
from inters_jax.command_line import run_command
from inters_jax.models.loading import load_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    small = {"hidden_size": 16, "intermediate_size": 24, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1}
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", max_position=4096, **small)


def run(model, output, *arguments):
    gin.clear_config()
    given = [f"--gin.MODEL_DIR={model}", "--gin.SUGGEST_TASK=query_expansion", f"--gin.OUTPUT={output}"]
    return run_command(suggest_templates.suggest_templates, [*given, *arguments])


def test_what_a_random_model_says_is_refused_and_shown(model, tmp_path, capsys):
    output = tmp_path / "review.yaml"
    run(model, output, "--gin.SUGGEST_DATASET=gov2", "--gin.MAX_NEW_TOKENS=8", "--gin.REQUESTS=2")
    text = output.read_text()
    assert yaml.safe_load(text) == {"task": "query_expansion", "datasets": {}}
    assert (
        text.count("# refused (gov2)") == 2
        and "gov2             0 to review, 2 refused" in capsys.readouterr().out
    )
    with pytest.raises(SystemExit, match="exists already"):
        run(model, output)


def test_the_prompt_has_the_tokens_of_training(model):
    loaded = load_model(model)
    local = suggest_templates.LocalModel(loaded, max_new_tokens=4)
    ids = local.tokens("Write a template.")
    assert ids[0] == loaded.bos_id and loaded.tokenizer.decode(ids[1:]) == "Write a template.\n"
    assert isinstance(local("Write a template."), str)
