"""Template, shots and parts of stored examples: those of the task itself, or none at all."""

import itertools
import json
import shutil
from pathlib import Path

import pytest
from command_stand_ins import inspect_data, prepare

from inters_jax.data.token_store import TokenStore
from inters_jax.inspection import rendering, token_text
from inters_jax.inspection.sampling import Pick

pytestmark = pytest.mark.slow

TASKS = ("inters_query_expansion_fire", "inters_fact_verification_scifact", "inters_fact_retrieval_scifact")


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """A copy of the packaged sample, which tests may change, and stores made of it."""
    import seqio_tasks

    folder = tmp_path_factory.mktemp("collection")
    shutil.copytree(Path(seqio_tasks.__file__).parent / "sample", folder / "raw")
    for task in TASKS:
        prepare(
            task,
            str(folder / task),
            tokenizer=str(folder / "raw/tokenizer"),
            raw_dir=str(folder / "raw"),
            max_length=512,
            passes=2,
            seed=5,
        )
    return folder


def rendered(collection, task, raw="raw"):
    store = TokenStore.open(collection / task)
    picks = [Pick(task, p, i) for p in range(store.passes(task)) for i in range(store.examples(task, p))]
    tokenizer = collection / "raw/tokenizer/tokenizer.json"
    found, reasons = rendering.render(store, picks, raw_dir=collection / raw, tokenizer=tokenizer)
    return store, picks, found, reasons


@pytest.mark.parametrize("task", TASKS)
def test_renderings_are_those_the_task_gives(collection, task):
    from seqio_tasks import settings, tasks

    store, picks, found, reasons = rendered(collection, task)
    assert not reasons and set(found) == set(picks)
    changes = {"max_length": 512, "seed": 5, "raw_dir": str(collection / "raw")}
    with settings.override(tokenizer=str(collection / "raw/tokenizer"), **changes):
        for pass_ in range(store.passes(task)):
            made = {e.example.example_id: e for e in tasks.task(task).encoded_examples("train", epoch=pass_)}
            for pick in picks:
                if pick.pass_ != pass_:
                    continue
                encoded = made[store.example_id(task, pass_, pick.index)]
                mine = found[pick]
                assert (mine.template, mine.shots) == (encoded.example.template, encoded.example.shots)
                assert mine.shortened == encoded.shortened
    assert {made.shots for made in found.values()} == set(range(6))
    assert len({made.template for made in found.values()}) > 8
    if "retrieval" in task:
        assert {made.family for made in found.values()} > {"pointwise_judgment", "listwise_order"}


def test_parts_begin_where_their_text_begins(collection):
    from seqio_tasks import templates

    task = TASKS[1]
    store, _, found, _ = rendered(collection, task)
    texts = token_text.open_texts(store.manifest, None)
    description = templates.load("fact_verification").description
    for pick, made in found.items():
        ids = store.tokens(pick.task, pick.pass_, pick.index).tolist()
        names = [name for name, _ in made.parts]
        if made.shortened:
            continue
        numbered = [f"demonstration {n}" for n in range(1, made.shots + 1)]
        assert names == ["description", *numbered, "item"]
        firsts = [first for _, first in made.parts] + [store.target_start(pick.task, pick.pass_, pick.index)]
        parts = [
            "".join(text for _, text, _ in texts.pieces(ids[start:end]))
            for start, end in itertools.pairwise(firsts)
        ]
        assert parts[0] == description + "\n\n"
        # The item asks what no demonstration asks, and every part before it ends with a blank line.
        assert all(part.endswith("\n\n") for part in parts[:-1])
        assert parts[-1].endswith("\n") and not parts[-1].endswith("\n\n")


def test_shortened_documents_are_counted_and_their_seams_left_unnamed(collection):
    task = "inters_fact_retrieval_scifact"
    shutil.copytree(collection / "raw/beir_scifact", collection / "long/beir_scifact")
    corpus = collection / "long/beir_scifact/corpus.jsonl"
    documents = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    longer = (json.dumps(one | {"text": " ".join([one["text"]] * 6)}) for one in documents)
    corpus.write_text("\n".join(longer) + "\n", encoding="utf-8")
    tokenizer = collection / "raw/tokenizer"
    store = prepare(
        task,
        str(collection / "long_store"),
        tokenizer=str(tokenizer),
        raw_dir=str(collection / "long"),
        max_length=512,
        seed=5,
    )
    picks = [Pick(task, 0, i) for i in range(store.examples(task, 0))]
    found, reasons = rendering.render(
        store, picks, raw_dir=collection / "long", tokenizer=tokenizer / "tokenizer.json"
    )
    assert not reasons and len(found) == len(picks)
    cut = [made for made in found.values() if made.shortened]
    assert len(cut) == store.manifest["tasks"][task]["passes"][0]["shortened"] > 0
    assert {tuple(name for name, _ in made.parts) for made in cut} == {("description", "prompt")}


def test_changed_rows_are_not_believed(collection):
    task = "inters_query_expansion_fire"
    shutil.copytree(collection / "raw", collection / "changed")
    for file in (collection / "changed/fire").rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(" the ", " THE "), encoding="utf-8")
    _, picks, found, reasons = rendered(collection, task, raw="changed")
    assert len(found) < len(picks)
    assert "it gives other tokens" in reasons[task]
    (collection / "empty").mkdir()
    _, _, found, reasons = rendered(collection, task, raw="empty")
    assert not found and "cannot be read" in reasons[task]


def test_a_task_of_another_project_is_shown_without_them(collection, tmp_path):
    TokenStore.create(tmp_path / "store", {"theirs": [[([1, 50, 60, 2], 2, "x")]]}, vocab_size=3000)
    store = TokenStore.open(tmp_path / "store")
    tokenizer = collection / "raw/tokenizer/tokenizer.json"
    picks = [Pick("theirs", 0, 0)]
    found, reasons = rendering.render(store, picks, raw_dir=collection / "raw", tokenizer=tokenizer)
    assert not found and reasons == {"theirs": "not a task of seqio_tasks"}


def test_the_page_carries_them(collection, tmp_path):
    task = TASKS[1]
    target = inspect_data(
        str(collection / task), str(tmp_path / "page.html"), raw_dir=str(collection / "raw"), examples=30
    )
    text = target.read_text(encoding="utf-8")
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(data["examples"]) == 30
    assert all({"m", "s", "x", "r"} <= set(example) for example in data["examples"])
    assert "not known" not in text.partition("<script")[0]
