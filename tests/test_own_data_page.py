"""docs/own_data.md: its declarations are read, and its commands run from a click log to a judged model.

They run in this process: each in one of its own would spend most of its time on imports.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import gin
import pytest
from documented_commands import ROOT, Command, commands, program, read, split
from own_data_stand_ins import helpdesk, registrations_end, write

from inters_jax.command_line import run_command
from seqio_tasks import catalog, own_data, settings

PAGE = "docs/own_data.md"
SMALL = {
    "prepare": ["--gin.EPOCH_EXAMPLES=30", "--gin.MAX_SHOTS=1"],
    "train": ["--gin.EPOCH_EXAMPLES=30", "--gin.MAX_SHOTS=1", "--gin.TRAIN_STEPS=1", "--gin.BATCH_SIZE=2"],
    "evaluate": ["--gin.MAX_QUERIES=1", "--gin.MAX_LENGTH=512"],
    "rerank": ["--gin.MAX_QUERIES=1", "--gin.DEPTH=3", "--gin.MAX_LENGTH=512"],
}
TASK = "inters_general_retrieval_helpdesk_rerank"


def declarations() -> list[str]:
    """The YAML blocks of the page that declare datasets."""
    return [
        block.text for block in split(read(PAGE))[0] if block.language == "yaml" and "task:" in block.text
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The working directory of the page, with its files; beside them one dataset of INTERS."""
    helpdesk(tmp_path)
    (tmp_path / "search.yaml").write_text(declarations()[0])
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "msrp").symlink_to(ROOT / "seqio_tasks" / "sample" / "msrp")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERS_DATASETS", "search.yaml")
    monkeypatch.setenv("INTERS_RAW_DIR", "raw")
    monkeypatch.setenv("INTERS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with registrations_end(), settings.override(raw_dir="raw", cache_dir=str(tmp_path / "cache")):
        yield tmp_path


def run(command: Command) -> None:
    module = importlib.import_module(
        f"{command.module}.__main__" if command.module.startswith("seqio_tasks") else command.module
    )
    if command.verb:
        gin.clear_config()
        run_command(getattr(module, command.verb), [*command.arguments, *SMALL.get(command.verb, [])])
    else:
        assert module.main(command.arguments) == 0


@pytest.mark.slow
def test_the_page_ends_with_a_tuned_and_judged_model(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = [command for command in commands(PAGE) if command.module]
    assert {command.verb for command in shown if command.verb} == {
        "prepare", "inspect_data", "train", "evaluate", "rerank",
    }  # fmt: skip
    printed = {}
    for command in shown:
        run(command)
        printed[command.module] = capfd.readouterr().out
    rows = [line.split() for line in printed["seqio_tasks.catalog"].splitlines() if "helpdesk" in line]
    assert [row[1] for row in rows] == ["train", "validation", "test"]
    assert sum(int(row[2]) for row in rows) == 40  # every query of the log
    rates = [line.split() for line in printed["seqio_tasks.mixtures"].splitlines()[:2]]
    assert rates == [["inters_general_retrieval_helpdesk", "2,000"], ["inters_query_matching_msrp", "8,000"]]
    assert "is current" in printed["inters_jax.train"]  # it found what prepare had made
    judged = json.loads((folder / "runs/helpdesk/evaluation/results.json").read_text())
    assert set(judged["metrics"]) == {TASK} and 0 <= judged["metrics"][TASK]["nDCG@10"] <= 1
    reranked = json.loads((folder / "runs/helpdesk/rerank/helpdesk/pointwise/results.json").read_text())
    assert reranked["manifest"]["pair"] == "inters_general_retrieval_helpdesk"
    page = (folder / "helpdesk.html").read_text()
    assert "inters_general_retrieval_helpdesk" in page and "general" in page
    exec("\n".join(block.text for block in program(PAGE)), {})
    assert "inters_general_retrieval_helpdesk" in capfd.readouterr().out


def test_every_declaration_on_the_page_is_read(folder: Path) -> None:
    cacm, routing, templates = declarations()[1:]
    (folder / "routing.yaml").write_text(templates)
    write(folder / "tickets.jsonl", [{"text": f"{n} bill", "assigned_to": "billing"} for n in range(60)])
    docs = [f"<DOC>\n<DOCNO>CACM-{n}</DOCNO>\n<TITLE>paper {n}</TITLE>\n</DOC>" for n in range(30)]
    write(folder / "cacm.trec", docs)
    topics = [f"<top>\n<num> {n}\n<title> paper {n}\n</top>" for n in range(30)]
    write(folder / "cacm.topics", topics)
    write(folder / "cacm.qrels", [f"{n} 0 CACM-{n} 1" for n in range(30)])
    for number, text in enumerate((cacm, routing)):
        (folder / f"{number}.yaml").write_text(text)
        own_data.register([folder / f"{number}.yaml"])
    ranked, labelled = catalog.added()
    assert (ranked.dataset, ranked.metrics) == ("cacm", ("nDCG@10", "AP"))
    row = next(iter(ranked.rows("", "train")))
    assert row["query"] == "paper " + row["positives"][0]["doc_id"].removeprefix("CACM-")
    assert row["positives"][0]["title"] == row["query"] and len(row["negatives"]) == 20
    rows = [row for name in ("train", "validation", "test") for row in labelled.rows("", name)]
    assert len(rows) == 60 and all(row["team"] == "billing" for row in rows)
    assert [path.name.startswith("cacm-") for path in (folder / "cache" / "datasets").iterdir()] == [True]
