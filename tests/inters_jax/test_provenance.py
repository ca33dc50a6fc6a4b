"""Provenance: what would change a store is noticed and named; what cannot have changed it is passed over."""

import dataclasses
import json
import subprocess
import sys

import pytest
from own_data_stand_ins import registrations_end

from inters_jax.data import provenance
from seqio_tasks import catalog
from seqio_tasks.catalog import Pair


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A tokenizer, raw files and a module, and the manifest of a store made from them."""
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text('{"model": {}}')
    (tokenizer / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    raw = tmp_path / "raw"
    (raw / "gov2").mkdir(parents=True)
    (raw / "gov2" / "topics.txt").write_text("1 dogs\n" * 30_000)
    package = tmp_path / "code" / "my_tasks"
    (package / "templates").mkdir(parents=True)
    (package / "__init__.py").write_text("import not_there  # never imported by the check\n")
    (package / "templates" / "description.yaml").write_text("a")
    (package / "templates" / "matching.yaml").write_text("b")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    asked = {
        "settings": {"name": "inters", "seed": 0, "max_length": 2048},
        "tokenizer": str(tokenizer),
        "raw_dir": raw,
        "modules": ("my_tasks",),
    }
    manifest = {
        "settings": dict(asked["settings"]),
        "tokenizer": {"name": str(tokenizer)} | provenance.tokenizer_identity(str(tokenizer)),
        "sources": provenance.code_sources(
            provenance.code_digests(("my_tasks",)), ["inters_description_gov2"]
        )
        | provenance.raw_sources(raw, ["gov2"]),
        "tasks": {"inters_description_gov2": {}},
        "without_data": {},
    }
    return manifest, asked, tmp_path


def test_nothing_changed(made):
    manifest, asked, _ = made
    assert provenance.differences(manifest, **asked) == []


def test_a_changed_declaration_its_templates_and_files_elsewhere_are_named(made):
    manifest, asked, folder = made
    templates, log = folder / "own.yaml", folder / "clicks.jsonl"
    templates.write_text("a")
    log.write_text("a")
    pair = Pair(
        task="general_retrieval", dataset="desk", group="", kind="rank", loader="", fields=(), metrics=(),
        paths=(str(log),), templates=str(templates), identity="one",
    )  # fmt: skip
    name = f"{pair.name}_0shot"
    with registrations_end():
        catalog.add(pair)
        manifest["tasks"] = {name: {}}
        manifest["sources"] = provenance.code_sources(provenance.code_digests(("my_tasks",)), [name])
        manifest["sources"] |= provenance.raw_sources(asked["raw_dir"], pair.inputs)
        assert provenance.differences(manifest, **asked) == []
        log.write_text("b")
        templates.write_text("b")
        catalog._BY_NAME[pair.name] = dataclasses.replace(pair, identity="two")
        assert provenance.differences(manifest, **asked) == [
            "datasets/desk changed since",
            "datasets/desk/templates changed since",
            f"{log} changed since",
        ]
        log.unlink()  # a training host without the data
    assert provenance.differences(manifest, **asked) == []


def test_sources_hold_only_the_templates_in_use(made):
    manifest, _, _ = made
    assert sorted(manifest["sources"]) == [
        "code:my_tasks/__init__.py",
        "code:my_tasks/templates/description.yaml",
        "raw:gov2",
    ]


def test_changed_settings_are_named_with_both_values(made):
    manifest, asked, _ = made
    asked["settings"] = {"name": "inters", "seed": 7, "max_length": 1024}
    assert provenance.differences(manifest, **asked) == [
        "seed is 0 in the store, 7 now",
        "max_length is 2048 in the store, 1024 now",
    ]


@pytest.mark.parametrize(
    ("file", "content", "named"),
    [
        ("tokenizer/tokenizer.json", "{}", "another tokenizer.json"),
        ("tokenizer/tokenizer_config.json", '{"bos_token": null}', "special tokens were"),
        ("code/my_tasks/__init__.py", "x = 1", "my_tasks/__init__.py changed since"),
        ("code/my_tasks/more.py", "x = 1", "my_tasks/more.py has been added since"),
        (
            "code/my_tasks/templates/description.yaml",
            "c",
            "my_tasks/templates/description.yaml changed since",
        ),
        ("raw/gov2/topics.txt", "1 dogs\n" * 29_999 + "1 cats\n", "the files in gov2 changed since"),
        ("raw/gov2/more.txt", "2 cats\n", "the files in gov2 changed since"),
    ],
)
def test_a_changed_file_is_named(made, file, content, named):
    manifest, asked, folder = made
    (folder / file).write_text(content)
    differences = provenance.differences(manifest, **asked)
    assert len(differences) == 1
    assert named in differences[0]


def test_changed_sources_may_be_accepted_but_not_changed_settings(made):
    manifest, asked, folder = made
    (folder / "code/my_tasks/__init__.py").write_text("x = 1")
    assert provenance.differences(manifest, **asked, check_sources=False) == []
    asked["settings"] = asked["settings"] | {"seed": 7}
    assert len(provenance.differences(manifest, **asked, check_sources=False)) == 1


def test_removed_code_is_named(made):
    manifest, asked, folder = made
    (folder / "code/my_tasks/templates/description.yaml").unlink()
    assert provenance.differences(manifest, **asked) == [
        "my_tasks/templates/description.yaml no longer exists"
    ]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("code/my_tasks/templates/matching.yaml", "of another task"),
        ("code/my_tasks/metrics/f1.py", "x = 1"),
        ("raw/fire/topics.txt", "of another task"),
    ],
)
def test_what_has_no_influence_is_passed_over(made, file, content):
    manifest, asked, folder = made
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(content)
    assert provenance.differences(manifest, **asked) == []


def test_raw_files_and_code_may_be_absent_on_a_training_host(made, monkeypatch):
    manifest, asked, folder = made
    asked["raw_dir"] = folder / "nowhere"
    asked["modules"] = ("not_installed_here",)
    assert provenance.differences(manifest, **asked) == []


def test_data_that_was_missing_and_has_appeared_is_named(made):
    manifest, asked, folder = made
    manifest["sources"] |= provenance.raw_sources(folder / "raw", ["fire"])
    assert provenance.differences(manifest, **asked) == []
    (folder / "raw/fire").mkdir()
    (folder / "raw/fire/topics.txt").write_text("1 dogs")
    assert provenance.differences(manifest, **asked) == ["fire has been added since"]


def test_a_hub_name_that_is_not_downloaded_is_compared_by_name(made):
    manifest, asked, _ = made
    asked["tokenizer"] = "nobody/no-such-model-here"
    (found,) = provenance.differences(manifest, **asked)
    assert "now it is nobody/no-such-model-here" in found


def test_the_packaged_sample_answers_when_nothing_is_given(monkeypatch):
    monkeypatch.delenv("INTERS_RAW_DIR", raising=False)
    monkeypatch.delenv("INTERS_TOKENIZER", raising=False)
    assert provenance.raw_folder(None).parts[-2:] == ("seqio_tasks", "sample")
    assert provenance.tokenizer_source(None).endswith("tokenizer")
    monkeypatch.setenv("INTERS_RAW_DIR", "elsewhere")
    assert str(provenance.raw_folder(None)) == "elsewhere"
    assert str(provenance.raw_folder("given")) == "given"


def test_checking_imports_no_framework():
    program = (
        "import sys, inters_jax.prepare;"
        "print([m for m in ('tensorflow', 'seqio', 'jax') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_folders_that_are_read_are_noted(tmp_path):
    for name in ("gov2", "fire"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        (tmp_path / "raw" / name / "topics.txt").write_text("1 dogs")
    (tmp_path / "raw" / "README").write_text("of no folder")
    (tmp_path / "raw" / "store").mkdir()
    with provenance.OpenedFolders(tmp_path / "raw", ignore=tmp_path / "raw" / "store") as opened:
        (tmp_path / "raw" / "store" / "tokens.bin").write_bytes(b"")
        (tmp_path / "raw" / "fire" / "topics.txt").read_text()
        (tmp_path / "raw" / "README").read_text()
    (tmp_path / "raw" / "gov2" / "topics.txt").read_text()
    assert opened.folders == {"fire"}


def test_a_tokenizer_from_the_hub_is_recorded_with_its_commit(tmp_path):
    snapshot = tmp_path / "models--org--base" / "snapshots" / ("c" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_text("{}")
    assert provenance.hub_revision(str(snapshot)) == {"hub": f"org/base@{'c' * 40}"}
    assert provenance.hub_revision(str(tmp_path)) == {}
