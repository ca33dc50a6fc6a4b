"""One revision of a hub repository, by the cache of the real huggingface_hub; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from seqio_tasks import hub_names
from seqio_tasks.base import MissingData, UserError
from seqio_tasks.tokenizer_files import find_tokenizer, local_tokenizer

FILES = (
    "tokenizer.json", "special_tokens_map.json", "tokenizer_config.json", "config.json",
    "generation_config.json", "chat_template.jinja",
)  # fmt: skip
MAIN, OLD = "a" * 40, "b" * 40


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository some/model in the cache: its main branch and the older tag v1."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = tmp_path / "models--some--model"
    (folder / "refs").mkdir(parents=True)
    for name, commit in (("main", MAIN), ("v1", OLD)):
        (folder / "refs" / name).write_text(commit)
        (folder / "snapshots" / commit).mkdir(parents=True)
        for file in FILES:
            (folder / "snapshots" / commit / file).write_text("{}")
    return folder / "snapshots"


def test_a_revision_is_a_branch_a_tag_or_a_commit(repository: Path) -> None:
    for name, commit in (("some/model", MAIN), ("some/model@v1", OLD), (f"some/model@{OLD}", OLD)):
        assert local_tokenizer(name) == repository / commit / "tokenizer.json"
        assert find_tokenizer(name) == repository / commit / "tokenizer.json"
        assert hub_names.of_folder(repository / commit) == f"some/model@{commit}"


def test_an_unknown_or_missing_revision_is_said(repository: Path) -> None:
    assert local_tokenizer("some/model@v2") is None
    with pytest.raises(MissingData, match="'some/model@v2' is no file or folder"):
        find_tokenizer("some/model@v2")
    with pytest.raises(UserError, match="'some/model@' names no revision; write ORG/NAME@REVISION"):
        find_tokenizer("some/model@")


def test_a_folder_may_have_the_sign_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "model@home"
    folder.mkdir()
    (folder / "tokenizer.json").write_text("{}")
    assert find_tokenizer(str(folder)) == local_tokenizer(str(folder)) == folder / "tokenizer.json"
    assert hub_names.of_folder(folder) is None
