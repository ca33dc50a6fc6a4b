"""A run remembers how its prompts were written; every command that judges or serves it follows."""

import importlib
import json
import shutil
import sys
import time
import types
from pathlib import Path

import gin
import pytest
from command_stand_ins import export, prepare
from model_stand_ins import SAMPLE, TOKENIZER, tiny_shape
from training_stand_ins import make_store, run_train

import seqio_tasks
from inters_jax import evaluate, rerank, serve
from inters_jax.command_line import run_command
from inters_jax.data import provenance
from inters_jax.data.pass_files import StoreError
from inters_jax.export import ends_of_answers
from inters_jax.models.config import ModelError
from inters_jax.models.prompt_record import RECORD, TEMPLATE, Prompts, chat_template_of, of_model, read
from inters_jax.ranking.questions import JUDGMENT, Document, Labels, Question
from inters_jax.ranking.reranker import Reranker
from inters_jax.training.initialise import read_prompts, write_model_folder
from seqio_tasks import settings
from seqio_tasks.base import MissingData
from seqio_tasks.prompts import chat
from seqio_tasks.tokenizer_files import find_tokenizer

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
suggest_templates = importlib.import_module("suggest_templates")

TEXT = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[ask] {{ m['content'] }} [end]"
    "{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
OTHER = TEXT.replace("[ask]", "[question]")
TASK, CHOICES = "inters_query_matching_msrp", "inters_query_matching_msrp_choices"
PLAIN = Prompts()
SHAPE = tiny_shape(hidden_size=16, intermediate_size=24, num_layers=1, max_position=512)


@pytest.fixture(autouse=True)
def no_template_from_outside(monkeypatch):
    monkeypatch.delenv("INTERS_CHAT_TEMPLATE", raising=False)
    with settings.override():
        yield


@pytest.fixture
def files(tmp_path):
    """The two templates as files; a tokenizer folder that brings the other one."""
    for name, text in (("own", TEXT), ("other", OTHER)):
        (tmp_path / f"{name}.jinja").write_text(text)
    shutil.copytree(TOKENIZER, tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / TEMPLATE).write_text(OTHER)
    return tmp_path


def model_folder(run, prompts, tokenizer=TOKENIZER, **options):
    write_model_folder(run, SHAPE, str(tokenizer), prompts, **options)
    return run


def test_an_export_ends_answers_where_the_template_of_training_does(files):
    own = SHAPE.eos_id
    turn = TEXT.replace("{{ eos_token }}", "<s>")
    for name, prompts, ends in (
        ("plain", PLAIN, (own,)),
        ("same", Prompts(TEXT, "own.jinja"), (own,)),
        ("other", Prompts(turn, "turn.jinja"), (own, 1)),
    ):
        assert ends_of_answers(model_folder(files / name, prompts), SHAPE) == ends


def test_the_template_of_training_is_what_a_run_is_asked_with(files, capsys):
    run = model_folder(files / "run", Prompts(TEXT, "own.jinja"), files / "tokenizer")
    assert of_model(str(run)) == Prompts(TEXT, "own.jinja")
    chosen = chat_template_of(run)
    assert chosen == str(run / "model" / TEMPLATE)
    assert chat.template_text(chosen, find_tokenizer(str(TOKENIZER))) == TEXT
    for same in ("tokenizer", str(files / "own.jinja")):
        assert chat_template_of(run, same) == same
    assert capsys.readouterr().out == ""
    for given, told in (
        ("none", "gives plain prompts, but"),
        (str(files / "other.jinja"), "(other.jinja), but"),
    ):
        assert chat_template_of(run, given) == given
        assert told in (said := capsys.readouterr().out)
        assert f"trained with {Prompts(TEXT, 'own.jinja')}: its prompts differ from those of training" in said


def test_a_template_that_was_not_used_is_not_taken(files, capsys, monkeypatch):
    """Tokenizers bring one; and the environment does not change what a run was trained with."""
    run = model_folder(files / "run", PLAIN, files / "tokenizer")
    assert (run / "model" / TEMPLATE).is_file() and of_model(run) == PLAIN
    monkeypatch.setenv("INTERS_CHAT_TEMPLATE", "tokenizer")
    assert chat_template_of(run) == "none"
    assert capsys.readouterr().out == ""
    assert chat_template_of(run, "tokenizer") == "tokenizer"
    assert "was trained with plain prompts" in capsys.readouterr().out


def test_models_without_a_record_are_asked_as_before(files, capsys):
    folder = shutil.copytree(files / "tokenizer", files / "model")
    assert [chat_template_of(folder), chat_template_of(folder, "tokenizer")] == [None, "tokenizer"]
    assert chat_template_of(SHAPE) is None
    assert capsys.readouterr().out == ""


def test_a_record_that_does_not_fit_its_template_is_refused(files):
    folder = model_folder(files / "run", Prompts(TEXT, "tokenizer")) / "model"
    (folder / TEMPLATE).write_text(OTHER)
    with pytest.raises(ModelError, match=r"chat_template\.jinja: changed, but the model was trained with it"):
        chat_template_of(files / "run")
    (folder / TEMPLATE).unlink()
    with pytest.raises(ModelError, match=r"chat_template\.jinja: missing"):
        read(folder)
    (folder / RECORD).write_text("[]")
    with pytest.raises(ModelError, match="not a record of prompts"):
        read(folder)


def test_the_model_folder_of_a_run_without_checkpoints_is_replaced(files):
    run = model_folder(files / "run", Prompts(TEXT, "own.jinja"))
    model_folder(run, PLAIN)  # continued from a checkpoint: as it was
    assert of_model(run) == Prompts(TEXT, "own.jinja")
    model_folder(run, PLAIN, fresh=True)
    assert of_model(run) == PLAIN and not (run / "model" / TEMPLATE).exists()
    (run / "model" / RECORD).unlink()  # of an older version
    model_folder(run, Prompts(TEXT, "own.jinja"))
    assert of_model(run) == Prompts(TEXT, "own.jinja")
    (run / "model" / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(ModelError, match="a model of its own, not part of a run"):
        model_folder(run, PLAIN, fresh=True)


def test_a_store_with_another_template_than_the_run_is_refused(files):
    store = make_store(files / "store")
    own = str(files / "own.jinja")
    assert read_prompts(None, str(TOKENIZER), store) == PLAIN
    with pytest.raises(StoreError, match=r"with the chat template none, but CHAT_TEMPLATE is own\.jinja"):
        read_prompts(own, str(TOKENIZER), store)
    store.manifest["settings"]["chat_template"] = provenance.chat_template_identity(own, str(TOKENIZER))
    assert read_prompts(own, str(TOKENIZER), store) == Prompts(TEXT, "own.jinja")
    with pytest.raises(StoreError, match="CHAT_TEMPLATE is none"):
        read_prompts(None, str(TOKENIZER), store)


def test_both_packages_read_the_same_text(files):
    named = [{"name": "tool", "template": OTHER}, {"name": "default", "template": TEXT}]
    for name, content in (("one", TEXT), ("several", named)):
        (files / f"{name}.json").write_text(json.dumps({"chat_template": content}))
    within = shutil.copytree(TOKENIZER, files / "within")
    description = json.loads((within / "tokenizer_config.json").read_text())
    (within / "tokenizer_config.json").write_text(json.dumps(description | {"chat_template": named}))
    cases = [("tokenizer", "tokenizer", OTHER), ("tokenizer", "within", TEXT)]
    cases += [(str(files / name), "within", TEXT) for name in ("own.jinja", "one.json", "several.json")]
    for template, folder, expected in cases:
        tokenizer = str(files / folder)
        theirs = chat.template_text(template, find_tokenizer(tokenizer))
        assert Prompts.asked(template, tokenizer).text == theirs == expected
    for refuses in (Prompts.asked, provenance.chat_template_identity):
        with pytest.raises(MissingData, match="has no chat template"):
            refuses("tokenizer", str(TOKENIZER))
        with pytest.raises(MissingData, match="no such chat template"):
            refuses(str(files / "absent.jinja"), str(TOKENIZER))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A run tuned inside a template of its own, judged on the way, and its export; what the run was told."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "own.jinja").write_text(TEXT)
    own = str(folder / "own.jinja")
    prepare(TASK, str(folder / "store"), max_length=512, chat_template=own)
    with settings.override():
        run_train(
            folder / "run", folder / "store", model=SHAPE, tokenizer=str(TOKENIZER), max_length=512,
            train_steps=2, chat_template=own, eval_every=2, eval_tasks=CHOICES, eval_split="test",
            eval_examples=2, eval_max_new_tokens=2, tensorboard=False,
        )  # fmt: skip
        in_loop = settings.current().chat_template
    export(str(folder / "run"), str(folder / "exported"))
    return folder, in_loop


def digest(text):
    return Prompts(text, "").sha256[:16]


@pytest.mark.slow
def test_a_run_its_export_and_its_evaluation_have_the_template(tuned):
    transformers = pytest.importorskip("transformers")
    folder, in_loop = tuned
    assert in_loop == str(folder / "run" / "model" / TEMPLATE)
    assert of_model(folder / "run") == of_model(folder / "exported") == Prompts(TEXT, "own.jinja")
    assert transformers.AutoTokenizer.from_pretrained(folder / "exported").chat_template == TEXT
    assert json.loads((folder / "exported" / "generation_config.json").read_text())["eos_token_id"] == 2
    assert "of a conversation in `chat_template.jinja`" in (folder / "exported" / "README.md").read_text()


def command(function, model, out, *arguments):
    gin.clear_config()
    with settings.override():
        run_command(function, [f"--gin.MODEL_DIR={model}", f"--gin.OUTPUT_DIR={out}", *arguments])
    return json.loads((out / "results.json").read_text())


@pytest.mark.slow
def test_evaluate_asks_as_in_training(tuned, tmp_path, capsys):
    folder, _ = tuned
    ask = [f"--gin.TASKS={CHOICES}", "--gin.MAX_EXAMPLES=4", "--gin.MAX_LENGTH=512"]

    def scores(name, model, *more):
        result = command(evaluate.evaluate, folder / model, tmp_path / name, *ask, *more)
        rows = (tmp_path / name / CHOICES / "predictions.jsonl").read_text().splitlines()
        return result["manifest"]["chat_template"], [json.loads(row)["score"] for row in rows]

    kept = scores("kept", "run")
    assert kept[0] == digest(TEXT)
    assert scores("named", "run", f"--gin.CHAT_TEMPLATE={folder / 'own.jinja'}") == kept
    exported = scores("exported", "exported")
    assert exported[0] == kept[0] and exported[1] == pytest.approx(kept[1], abs=1e-5)
    assert "was trained with" not in capsys.readouterr().out
    plain = scores("plain", "run", "--gin.CHAT_TEMPLATE=none")
    assert plain[0] == "none" and plain[1] != kept[1]
    assert "gives plain prompts, but" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="is of another evaluation: chat_template is 'none' there"):
        scores("plain", "run")


@pytest.mark.slow
def test_rerank_asks_as_in_training(tuned, tmp_path, capsys):
    folder, _ = tuned
    ask = [f"--gin.COLLECTION={SAMPLE / 'beir_scifact'}", "--gin.DEPTH=3", "--gin.MAX_QUERIES=2",
           "--gin.MAX_LENGTH=512"]  # fmt: skip

    def run(name, *more):
        result = command(rerank.rerank, folder / "run", tmp_path / name, *ask, *more)
        return result["manifest"]["chat_template"], (tmp_path / name / "reranked.trec").read_text()

    kept = run("kept")
    assert kept[0] == digest(TEXT)
    assert run("named", f"--gin.CHAT_TEMPLATE={folder / 'own.jinja'}") == kept
    assert "was trained with" not in capsys.readouterr().out
    plain = run("plain", "--gin.CHAT_TEMPLATE=none")
    assert plain[0] == "none" and plain[1] != kept[1]
    assert "was trained with" in capsys.readouterr().out


def prompt_of(ranker):
    request = Labels(Question(JUDGMENT, "wheat", (Document("", "A mill grinds wheat."),)))
    return ranker.backend.loaded.tokenizer.decode(ranker.backend.prepare([request]).prompts[0])


@pytest.mark.slow
def test_rerankers_of_a_process_have_templates_of_their_own(tuned):
    """One in its template, one told otherwise, one without a record: none changes another."""
    folder, _ = tuned
    kept = Reranker.from_pretrained(folder / "run", max_length=512)
    other = shutil.copytree(folder / "exported", folder / "hub")
    (other / RECORD).unlink()
    bare = Reranker.from_pretrained(other, max_length=512)
    plain = Reranker.from_pretrained(folder / "run", max_length=512, chat_template="none")
    assert prompt_of(kept).count("[ask]") == prompt_of(kept).count("[end]") == 1
    assert "[ask]" not in prompt_of(bare) and prompt_of(bare) == prompt_of(plain)
    assert settings.current().chat_template == "none"


@pytest.mark.slow
def test_serve_and_suggest_templates_ask_as_in_training(tuned, tmp_path, monkeypatch):
    folder, _ = tuned
    pytest.importorskip("uvicorn")
    app, protocol = (importlib.import_module(f"inters_jax.serving.{name}") for name in ("app", "protocol"))
    served = []
    monkeypatch.setattr(app, "make_app", lambda ranker, **_: served.append(ranker) or object())

    def server_of(front, **_):
        def run():
            while front.app is None:  # it is made in a thread
                time.sleep(0.01)

        return types.SimpleNamespace(run=run)

    monkeypatch.setattr(protocol, "make_server", server_of)
    for template in ("None", "'none'"):
        gin.clear_config()
        arguments = [f"--gin.MODEL_DIR={folder / 'run'}", f"--gin.CHAT_TEMPLATE={template}"]
        run_command(serve.serve, [*arguments, "--gin.MAX_LENGTH=512", "--gin.WARM_UP=False"])
    assert ["[ask]" in prompt_of(ranker) for ranker in served] == [True, False]

    asked = []

    class Silent(suggest_templates.LocalModel):
        def __call__(self, prompt):
            asked.append(self._tokenizer.decode(self.tokens("Write.")))
            return ""

    monkeypatch.setattr(suggest_templates, "LocalModel", Silent)
    for number, model in enumerate(("run", "exported")):
        output = tmp_path / f"{number}.yaml"
        command = ["query_expansion", "--model_dir", str(folder / model), "--output", str(output)]
        suggest_templates.main([*command, "--dataset=gov2", "--requests=1"])
    assert len(asked) == 2 and all("[ask] Write. [end]" in prompt for prompt in asked)


@pytest.mark.slow
def test_a_run_started_from_a_tuned_one_says_when_prompts_change(tuned, tmp_path, capsys):
    folder, _ = tuned
    store = make_store(tmp_path / "store", vocab_size=4096)
    run_train(
        tmp_path / "run", store.folder, model=str(folder / "run"), init="pretrained", train_steps=1,
        tokenizer=str(TOKENIZER), max_length=64, tensorboard=False,
    )  # fmt: skip
    told = capsys.readouterr().err
    assert f"MODEL was trained with {Prompts(TEXT, 'own.jinja')}, this run trains with plain prompts" in told
    assert of_model(tmp_path / "run") == PLAIN
    assert seqio_tasks.settings.current().chat_template == "none"
