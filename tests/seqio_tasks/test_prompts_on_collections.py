"""Every template of every pair is filled from rows that the sources really give.

They come from the packaged sample and, where they are at hand, from the real files (INTERS_REAL_DATA, or
shared/raw beside the repository).
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from seqio_tasks import settings, templates
from seqio_tasks.base import DataError, MissingData
from seqio_tasks.catalog import PAIRS, Pair
from seqio_tasks.metrics.labels import split_labels
from seqio_tasks.prompts.render import Variant, render

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = Path(settings.Settings().raw_dir)
REAL = Path(os.environ.get("INTERS_REAL_DATA") or ROOT.parent / "shared" / "raw")


def _fill_all(folder: Path, entry: Pair) -> None:
    if not folder.is_dir():
        pytest.skip(f"no data folder {folder.name}")
    try:
        rows = list(entry.rows(folder, "train"))
    except MissingData as error:
        pytest.skip(f"{entry.name}: {error.what}")
    assert rows
    descriptions = templates.load(entry.task).description
    for slot, template in enumerate(templates.load(entry.task).of(entry.dataset)):
        filled = 0
        for row in rows[:: len(rows) // 50 + 1]:
            try:
                rendered = render(
                    row, entry, variant=Variant(shots=2, template=slot), demonstrations=rows, seed=0
                )
            except DataError as error:
                assert "no template can be filled" in str(error)  # a field this row lacks
                continue
            filled += 1
            text = rendered.inputs()
            assert text.startswith(descriptions) and text.endswith(f"\n{template.cue}\n")
            assert rendered.targets.strip() == rendered.targets != ""
            stated = split_labels(rendered.targets) if entry.multi_label else [rendered.targets]
            assert not rendered.choices or set(stated) <= set(rendered.choices)
            asked = rendered.item.text()
            own = {block.text() for block in rendered.demonstrations}
            assert asked not in own
        assert filled, f"{entry.name}[{slot}]: no row has the fields {template.input_fields}"


@pytest.mark.parametrize("entry", PAIRS, ids=lambda entry: entry.name)
def test_templates_fill_from_the_sample(entry: Pair) -> None:
    _fill_all(SAMPLE, entry)


@pytest.mark.parametrize("entry", PAIRS, ids=lambda entry: entry.name)
def test_templates_fill_from_real_data(entry: Pair) -> None:
    _fill_all(REAL, entry)
