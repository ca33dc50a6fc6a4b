"""Every packaged template of every pair, as a prompt without and with three demonstrations, in one file.

`python -m pytest -s tests/seqio_tasks/test_rendered_templates.py --basetemp=rendered` keeps the file and
prints where it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from seqio_tasks import templates
from seqio_tasks.base import DataError
from seqio_tasks.catalog import PAIRS, Pair, Row
from seqio_tasks.prompts.filling import Rendered
from seqio_tasks.prompts.render import Variant, render

SAMPLE = Path(templates.__file__).parents[1] / "sample"


def _first(rows: list[Row], entry: Pair, slot: int, shots: int) -> Rendered:
    """The prompt of the first row, from one that differs by template, that this template can show."""
    start = 7 * slot % len(rows)
    for row in rows[start:] + rows[:start]:
        try:
            return render(
                row,
                entry,
                variant=Variant(shots=shots, template=slot),
                demonstrations=rows,
                seed=0,
                largest_list=4,
            )
        except DataError:
            continue  # it lacks a field of this template
    raise AssertionError(f"{entry.name}: no row of the sample can fill template {slot}")


def _faults(rendered: Rendered, description: str, cue: str, shots: int) -> Iterator[str]:
    """What is wrong with the form of a prompt."""
    text = rendered.inputs()
    if not text.startswith(f"{description}\n\n") or text.count(description) != 1:
        yield "the description does not come first, or not once"
    if not text.endswith(f"\n{cue}\n"):
        yield "the cue does not come last"
    if found := re.search(r"\{\w*\}", text + rendered.targets):
        yield f"an unreplaced placeholder: {found.group(0)}"
    if rendered.shots != shots:
        yield f"{rendered.shots} demonstrations"
    answered = [(block.text(), block.target) for block in (*rendered.demonstrations, rendered.item)]
    complete = text + rendered.targets
    for asked, target in answered:
        if not target.strip() or complete.count(f"{asked}\n{target}") != 1:
            yield f"a question does not stand once with its answer: {asked[:40]!r}"
    if len({asked for asked, _ in answered}) != len(answered):
        yield "a question twice"
    if found := re.search(r"[ \t]\n|\n\n\n|[?.!][?.]\B", complete):
        yield f"spacing or punctuation: {complete[max(0, found.start() - 30) : found.end()]!r}"


def test_every_template_as_a_prompt_to_read(tmp_path: Path) -> None:
    parts, faults = [], []
    for entry in PAIRS:
        loaded = templates.load(entry.task, ())
        rows = list(entry.rows(SAMPLE, "train"))
        for slot, template in enumerate(loaded.of(entry.dataset)):
            for shots in (0, 3):
                rendered = _first(rows, entry, slot, shots)
                where = f"{entry.name}[{slot}], {shots} demonstrations"
                parts.append(f"=== {where}\n{rendered.inputs()}{rendered.targets}\n")
                found = _faults(rendered, loaded.description, template.cue, shots)
                faults += [f"{where}: {what}" for what in found]
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(parts), encoding="utf-8")
    print(f"{path}: {len(parts)} prompts, {path.stat().st_size:,} bytes")
    assert faults == []
    assert len(parts) == 2 * 12 * len(PAIRS)
