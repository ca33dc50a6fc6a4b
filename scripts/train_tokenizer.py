"""Trains a small byte-level BPE tokenizer on a raw directory, for models that start from random weights.

    python scripts/train_tokenizer.py --raw_dir DATA --output DATA/tokenizer --vocab_size 8192

Text: the strings of the training rows of every task whose files are there, and the prompt templates. Nothing
is ever unknown (all 256 bytes are tokens); ids 0 <pad>, 1 <s>, 2 </s>. A model that starts from a checkpoint
uses its own tokenizer instead.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from seqio_tasks.base import MissingData, write_bytes

TEMPLATES = Path(__file__).resolve().parent.parent / "seqio_tasks" / "templates"
SPECIAL = ("<pad>", "<s>", "</s>")


def byte_level_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE; all 256 bytes are in the vocabulary, so nothing is ever unknown."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokenizer_files(texts: Iterable[str], vocab_size: int) -> dict[str, bytes]:
    """tokenizer.json and tokenizer_config.json of a tokenizer trained on `texts`, name -> bytes."""
    tokenizer = json.loads(byte_level_bpe(texts, vocab_size).to_str())
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
    }
    return {
        "tokenizer.json": (json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")) + "\n").encode(),
        "tokenizer_config.json": (json.dumps(config, indent=2) + "\n").encode(),
    }


def strings(value: object) -> list[str]:
    """All strings inside lists and dicts, without the keys of dicts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


def texts(raw_dir: Path, rows_per_task: int) -> Iterator[str]:
    """The strings of up to `rows_per_task` training rows of every pair with data, then the templates."""
    from seqio_tasks import catalog  # brings SeqIO along, which make_sample.py can do without

    for pair in catalog.PAIRS:
        try:
            for row in itertools.islice(pair.rows(raw_dir, "train"), rows_per_task):
                yield from strings(row)
        except MissingData as error:
            print(f"left out, no data: {pair.name} ({error})")
    for path in sorted(TEMPLATES.glob("*.yaml")):
        yield from path.read_text(encoding="utf-8").splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--raw_dir", type=Path, required=True, help="folder of the official files")
    parser.add_argument("--output", type=Path, required=True, help="folder for tokenizer.json")
    parser.add_argument("--vocab_size", type=int, default=8192)
    parser.add_argument("--rows_per_task", type=int, default=1000)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    files = tokenizer_files(texts(options.raw_dir, options.rows_per_task), options.vocab_size)
    for name, content in files.items():
        write_bytes(options.output / name, content)
        print(options.output / name)


if __name__ == "__main__":
    main()
