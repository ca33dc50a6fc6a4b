"""prepare reads what SeqIO's caching wrote, and own template files; both are part of what a store is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import seqio
import tensorflow as tf
from command_stand_ins import prepare

import seqio_tasks
from inters_jax.data import provenance
from inters_jax.data.pass_files import StoreError
from seqio_tasks import settings

PACKAGE = Path(seqio_tasks.__file__).parent
ROOT = PACKAGE.parent
TASK = "inters_query_matching_msrp"
MINE = """
task: query_matching
datasets:
  msrp:
    - input: 'Compare: {sentence1} | {sentence2}'
      output: '{answer}'
      cue: 'Alike:'
"""


def write_cache(folder, name, split, tokenizer, chat_template="none"):
    """The layout of `seqio_cache_tasks`, without Beam: backwards, as a cache keeps no order."""
    task = seqio.TaskRegistry.get(name)
    place = folder / name
    place.mkdir(parents=True)
    here = {"raw_dir": str(PACKAGE / "sample"), "tokenizer": str(tokenizer), "templates": ()}
    with settings.override(**here, chat_template=chat_template):
        dataset = task.get_dataset(None, split, shuffle=False)
        examples = list(dataset.as_numpy_iterator())[::-1]
    features = {
        feature: {"dtype": spec.dtype.name, "shape": [None] if spec.shape.rank else []}
        for feature, spec in dataset.element_spec.items()
    }
    with tf.io.TFRecordWriter(str(place / f"{split}.tfrecord-00000-of-00001")) as writer:
        for example in examples:
            writer.write(seqio.dict_to_tfexample(example).SerializeToString())
    info = {"num_shards": 1, "features": features, "seqio_version": seqio.__version__}
    (place / f"info.{split}.json").write_text(json.dumps(info))
    (place / f"stats.{split}.json").write_text(json.dumps({"examples": len(examples)}))
    (place / "COMPLETED").write_text("")


def sequences(store):
    return {
        store.example_id(TASK, 0, i): (store.tokens(TASK, 0, i).tolist(), int(store.target_start(TASK, 0, i)))
        for i in range(store.examples(TASK, 0))
    }


def test_a_cached_task_gives_the_sequences_of_the_task_itself(tmp_path):
    write_cache(tmp_path / "cache", TASK, "train", PACKAGE / "sample" / "tokenizer")
    straight = prepare(TASK, str(tmp_path / "straight"))
    cached = prepare(TASK, str(tmp_path / "cached"), cache_dirs=str(tmp_path / "cache"), passes=2)
    assert sequences(cached) == sequences(straight)
    counts = cached.manifest["tasks"][TASK]["passes"]
    assert len(counts) == 1  # a second pass would be the same
    assert counts[0]["notes"] == {"rows from SeqIO's cache": counts[0]["rows"]}
    assert seqio.TaskRegistry.get(TASK).cache_dir is None  # only prepare was told
    # Cached again, the store is stale.
    (tmp_path / "cache" / TASK / "stats.train.json").write_text("{}")
    with pytest.raises(StoreError, match="cache_dirs is"):
        prepare(TASK, str(tmp_path / "cached"), cache_dirs=str(tmp_path / "cache"), passes=2)


def test_a_cache_of_another_tokenizer_is_refused(tmp_path):
    write_cache(tmp_path / "cache", TASK, "train", PACKAGE / "sample" / "tokenizer")
    other = tmp_path / "tokenizer"
    shutil.copytree(PACKAGE / "sample" / "tokenizer", other)
    content = json.loads((other / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["merges"] = content["model"]["merges"][:500]
    (other / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(StoreError, match="was written with another tokenizer"):
        prepare(TASK, str(tmp_path / "s"), tokenizer=str(other), cache_dirs=[str(tmp_path / "cache")])


def test_a_cache_is_taken_with_the_chat_template_it_was_made_with(tmp_path):
    tokenizer = PACKAGE / "sample" / "tokenizer"
    own, other = (tmp_path / f"{word}.jinja" for word in ("ask", "question"))
    for file in (own, other):
        turns = "{% if m['role'] == 'user' %}[WORD] {{ m['content'] }} [end]{% else %} {{ m['content'] }}"
        text = "{{ bos_token }}{% for m in messages %}" + turns + "{{ eos_token }}{% endif %}{% endfor %}"
        file.write_text(text.replace("WORD", file.stem))
    plain, chat = str(tmp_path / "plain"), str(tmp_path / "chat")
    write_cache(Path(plain), TASK, "train", tokenizer)
    write_cache(Path(chat), TASK, "train", tokenizer, chat_template=str(own))
    straight = prepare(TASK, str(tmp_path / "straight"), chat_template=str(own))
    cached = prepare(TASK, str(tmp_path / "cached"), cache_dirs=chat, chat_template=str(own))
    assert sequences(cached) == sequences(straight)
    assert cached.manifest["tasks"][TASK]["passes"][0]["notes"]["rows from SeqIO's cache"] > 0
    for cache, template, message in (
        (plain, str(own), "was written with plain prompts, but CHAT_TEMPLATE is set"),
        (chat, str(other), "was written with another chat template or tokenizer"),
        (chat, None, "or with a chat template, which CHAT_TEMPLATE must name"),
    ):
        with pytest.raises(StoreError, match=message):
            prepare(TASK, str(tmp_path / "refused"), cache_dirs=cache, chat_template=template)


def test_own_templates_shape_the_store_and_belong_to_it(tmp_path, monkeypatch):
    mine = tmp_path / "mine.yaml"
    mine.write_text(MINE, encoding="utf-8")
    store = prepare(TASK, str(tmp_path / "s"), templates=str(mine), max_shots=0)
    with settings.override(templates=mine, max_shots=0, max_length=2048):
        expected = [e.input_ids.tolist() for e in seqio.TaskRegistry.get(TASK).encoded_examples("train")]
    starts = [int(store.target_start(TASK, 0, i)) for i in range(len(expected))]
    found = [store.tokens(TASK, 0, i)[1 : starts[i]].tolist() for i in range(len(expected))]
    assert found == expected
    with pytest.raises(StoreError, match="templates is"):
        prepare(TASK, str(tmp_path / "s"), max_shots=0)
    monkeypatch.setenv("INTERS_TEMPLATES", str(mine))
    prepare(TASK, str(tmp_path / "s"), max_shots=0)  # the same file, named by the environment
    mine.write_text(MINE.replace("Compare", "Judge"), encoding="utf-8")
    with pytest.raises(StoreError, match="templates is"):
        prepare(TASK, str(tmp_path / "s"), max_shots=0)


@pytest.mark.slow
@pytest.mark.skipif(
    os.environ.get("INTERS_TEST_BEAM") != "1", reason="INTERS_TEST_BEAM=1 builds an environment with Beam"
)
def test_beam_caches_a_mixture_and_prepare_reads_it(tmp_path):
    """pip installs the extra [beam] into an environment of its own (INTERS_BEAM_VENV keeps it)."""
    venv = Path(os.environ.get("INTERS_BEAM_VENV") or tmp_path / "venv")
    if not (venv / "bin" / "seqio_cache_tasks").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([venv / "bin" / "pip", "install", "--quiet", f"{ROOT}[beam]"], check=True)
    check = subprocess.run([venv / "bin" / "pip", "check"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout
    mixture = "inters_fact_verification"
    members = [name for name, _ in seqio_tasks.members(mixture).available]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),  # the code under test, whatever the environment has installed
        "INTERS_RAW_DIR": str(PACKAGE / "sample"),
        "HOME": str(tmp_path),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    command = [
        venv / "bin" / "seqio_cache_tasks",
        "--module_import=seqio_tasks",
        f"--tasks={','.join(members)}",
        f"--output_cache_dir={tmp_path / 'cache'}",
        "--pipeline_options=--runner=FnApiRunner",
        "--min_shards=1",
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    cached = prepare(mixture, str(tmp_path / "cached"), cache_dirs=str(tmp_path / "cache"))
    straight = prepare(mixture, str(tmp_path / "straight"))
    assert set(cached.tasks) == set(straight.tasks) == set(members)
    for name in members:
        by_id = [
            {store.example_id(name, 0, i): store.tokens(name, 0, i).tolist()
             for i in range(store.examples(name, 0))}
            for store in (cached, straight)
        ]  # fmt: skip
        assert by_id[0] == by_id[1]
        assert cached.manifest["tasks"][name]["passes"][0]["notes"]["rows from SeqIO's cache"] > 0


def test_digests_of_files_and_folders(tmp_path):
    (tmp_path / "a").write_text("x")
    found = provenance.digests([str(tmp_path), str(tmp_path / "a"), "gs://elsewhere/cache"])
    assert found["gs://elsewhere/cache"] == "" and all(list(found.values())[:2])
