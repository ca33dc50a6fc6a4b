"""`python -m inters_jax.inspect_data`: a token store as one HTML page to look at.

    python -m inters_jax.inspect_data --gin_file=runs/inspect_data.gin --gin.STORE_DIR=stores/inters \\
        --gin.OUTPUT=page.html

The page shows real sequences token by token with their loss mask, what was left out and why, lengths, rates
asked and drawn, and packed rows. It needs no network and no server.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from inters_jax.data import provenance
from inters_jax.data.token_store import StoreError, TokenStore
from inters_jax.inspection import numbers, rendering, sampling, token_text
from inters_jax.reports import inspection_page
from seqio_tasks.base import write_text


def inspect_data(
    store_dir: str,
    output: str,
    tasks: str | Sequence[str] | None = None,
    tokenizer: str | None = None,
    raw_dir: str | None = None,
    examples: int = 400,
    max_bytes: int = 4_000_000,
    max_length: int | None = None,
    seed: int = 0,
    render: bool = True,
) -> Path:
    """Write a page about a token store.

    Args:
      store_dir: a finished store.
      output: the HTML file to write; an existing one is replaced.
      tasks: names separated by commas; None: all tasks of the store.
      tokenizer: of the store, should it not lie where the store was made.
      raw_dir: the official files of the store; None: the packaged sample. Only to find template and shots.
      examples: the most examples on the page.
      max_bytes: the most room they take.
      max_length: positions of a packed row; None: the longest sequence the store allows.
      seed: of the epoch that is drawn and packed, and of the sample of examples.
      render: False leaves template, shots and the parts of prompts out, and reads no raw file.
    """
    begin = time.monotonic()
    if examples < 1 or max_bytes < 1:
        raise StoreError(f"examples is {examples} and max_bytes {max_bytes}; both must be positive")
    store = TokenStore.open(store_dir)
    shown = sampling.named_tasks(store, tasks)
    texts = token_text.open_texts(store.manifest, tokenizer)
    sample = sampling.choose(store, shown, texts, examples=examples, budget=max_bytes, seed=seed)
    found: dict[sampling.Pick, rendering.Rendering] = {}
    reasons: dict[str, str] | None = None
    if render:
        file = token_text.find_tokenizer(tokenizer or store.manifest["tokenizer"]["name"])
        raw = provenance.raw_folder(raw_dir)
        found, reasons = rendering.render(store, sample.picks, raw_dir=raw, tokenizer=file)
    epoch = numbers.epoch_numbers(store, seed)
    # A row needs one position less than the sequence has tokens; training gives it as many all the same.
    positions = max_length or store.manifest["settings"].get("max_length") or store.longest
    text = inspection_page.page(
        store,
        tasks=[numbers.task_numbers(store, task) for task in shown],
        epoch=epoch,
        packed=numbers.packed_numbers(store, epoch, max_length=positions, seed=seed),
        sample=sample,
        renderings=found,
        not_rendered=reasons,
        seed=seed,
    )
    target = Path(output)
    write_text(target, text)
    for task, reason in (reasons or {}).items():
        print(f"template and shots unknown: {task}: {reason}")
    total = sum(store.examples(task, pass_) for task in shown for pass_ in range(store.passes(task)))
    print(
        f"{target}: {len(sample.picks):,} of {total:,} examples, {len(shown)} tasks, "
        f"{len(text.encode()) / 1e6:.1f} MB, in {time.monotonic() - begin:.1f} s"
    )
    return target


if __name__ == "__main__":
    from inters_jax.config import run_command

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run_command(inspect_data)
