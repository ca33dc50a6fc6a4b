"""inspect_data: the numbers are the store's, the text is the tokens', data stays data, the page is alone."""

import base64
import hashlib
import json
import re
import subprocess
import sys

import inspection_stand_ins as stand_ins
import numpy as np
import pytest
from command_stand_ins import inspect_data
from inspection_stand_ins import BOS, EOS, FIRST_BYTE, Elements, byte_tokenizer, ids_of, page_store

from inters_jax.data.pass_files import StoreError
from inters_jax.data.token_store import TokenStore
from inters_jax.inspection import numbers, sampling, token_text


def texts_of(folder):
    description = json.loads((folder / "tokenizer.json").read_text())
    return token_text.TokenTexts(description, bos_id=BOS, eos_id=EOS)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return byte_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def written(tokenizer, tmp_path):
    """The page of a store of three tasks, as text."""
    page_store(tmp_path / "store")
    target = inspect_data(
        str(tmp_path / "store"), str(tmp_path / "out/page.html"), tokenizer=str(tokenizer), render=False
    )
    return target.read_text(encoding="utf-8")


def test_every_token_has_its_own_text_and_special_ones_are_known(tokenizer):
    ids = [BOS, *ids_of("a\n</s>"), 0, EOS]
    found = texts_of(tokenizer).pieces(ids)
    assert [text for _, text, _ in found] == ["<s>", "a", "\n", "<", "/", "s", ">", "<pad>", "</s>"]
    kinds = [kind for _, _, kind in found]
    assert kinds == [token_text.BOS, *[token_text.TEXT] * 6, token_text.SPECIAL, token_text.EOS]
    assert [token for token, _, _ in found] == ids


def test_a_character_of_several_tokens_belongs_to_the_first(tokenizer):
    found = texts_of(tokenizer).pieces(ids_of("é€!"))
    assert [text for _, text, _ in found] == ["é", "", "€", "", "", "!"]
    rest, text = token_text.REST, token_text.TEXT
    assert [kind for _, _, kind in found] == [text, rest, text, rest, rest, text]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\xc3A", ["\ufffd", "A"]),  # a broken character, then a whole one
        (b"\xc3\xc3\xa9", ["\ufffd", "é", ""]),
        (b"a\xe2\x82", ["a", "\ufffd", ""]),  # the sequence ends inside a character
        (b"\x80b", ["\ufffd", "b"]),
    ],
)
def test_broken_characters_lose_nothing_around_them(tokenizer, data, shown):
    found = texts_of(tokenizer).pieces([FIRST_BYTE + byte for byte in data])
    assert [text for _, text, _ in found] == shown


def test_a_broken_character_does_not_run_into_a_special_token(tokenizer):
    found = texts_of(tokenizer).pieces([FIRST_BYTE + 0xC3, EOS, FIRST_BYTE + 0xA9])
    assert [text for _, text, _ in found] == ["\ufffd", "</s>", "\ufffd"]


def test_sentencepiece_spaces_and_bytes_are_spelled_out():
    texts = token_text.TokenTexts(stand_ins.sentencepiece_description(), bos_id=1, eos_id=2)
    found = texts.pieces([1, 5, 3, 4, 6, 2])
    assert [text for _, text, _ in found] == ["<s>", " caf", "é", "", "!", "</s>"]


def test_texts_agree_with_the_tokenizers_own_decoding(tokenizer):
    from tokenizers import Tokenizer

    original = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    text = "Ünïcödé, 検索 and \u043f\u043e\u0438\u0441\u043a 😀\n\ttab  two spaces"
    shown = texts_of(tokenizer).pieces(ids_of(text))
    assert "".join(piece for _, piece, _ in shown) == original.decode(ids_of(text)) == text


def test_a_foreign_tokenizer_is_refused(tmp_path):
    manifest = {"tokenizer": {"name": "x", "sha256": "0" * 64, "bos_id": None, "eos_id": 2}}
    with pytest.raises(StoreError, match="is not the tokenizer of the store"):
        token_text.open_texts(manifest, str(byte_tokenizer(tmp_path)))
    manifest["tokenizer"]["name"] = str(tmp_path / "gone")
    with pytest.raises(StoreError, match=r"not on this machine; name its place here with --gin.TOKENIZER"):
        token_text.open_texts(manifest, None)


def test_sample_is_even_over_tasks_and_gives_the_stored_tokens_back(tokenizer, tmp_path):
    store = page_store(tmp_path / "store")
    sample = sampling.choose(store, store.tasks, texts_of(tokenizer), examples=10, budget=10**6, seed=0)
    counts = {task: sum(pick.task == task for pick in sample.picks) for task in store.tasks}
    assert counts == {"letters": 4, "markup": 2, "numbers": 4}  # markup has no more than two
    assert len(set(sample.picks)) == 10 and not sample.full
    for pick, places in zip(sample.picks, sample.tokens, strict=True):
        stored = store.tokens(pick.task, pick.pass_, pick.index)
        assert [sample.table[place][0] for place in places] == stored.tolist()
    again = sampling.choose(store, store.tasks, texts_of(tokenizer), examples=10, budget=10**6, seed=0)
    other = sampling.choose(store, store.tasks, texts_of(tokenizer), examples=10, budget=10**6, seed=1)
    assert again == sample and other.picks != sample.picks


def test_sample_stops_at_its_budget_and_says_so(tokenizer, tmp_path):
    store = page_store(tmp_path / "store")
    sample = sampling.choose(store, store.tasks, texts_of(tokenizer), examples=50, budget=3000, seed=0)
    assert sample.full and 0 < len(sample.picks) < 50


def test_every_example_is_a_candidate_once(tmp_path):
    store = page_store(tmp_path / "store")
    picks = list(sampling.candidates(store, "letters", seed=3))
    assert sorted((pick.pass_, pick.index) for pick in picks) == [(p, i) for p in (0, 1) for i in range(6)]


def test_an_unknown_task_is_named_with_those_that_exist(tmp_path):
    store = page_store(tmp_path / "store")
    assert sampling.named_tasks(store, "numbers, letters") == ("letters", "numbers")
    with pytest.raises(StoreError, match=r"does not hold nmbers \(no such task\); it holds letters, markup"):
        sampling.named_tasks(store, "nmbers")


def small_store(folder):
    """Task a: 3 examples of 4, 6 and 6 tokens; task b: 1 of 9. Rates 3 to 1."""
    a = [([1, 5, 6, 2], 2, "a/0"), ([1, 5, 6, 7, 7, 2], 3, "a/1"), ([1, 5, 6, 7, 8, 2], 5, "a/2")]
    b = [([1, 4, 4, 4, 4, 4, 4, 4, 2], 7, "b/0")]
    return TokenStore.create(folder, {"a": [a], "b": [b]}, vocab_size=100, bos_id=1, eos_id=2, max_length=16)


def test_numbers_of_a_task(tmp_path):
    task = numbers.task_numbers(small_store(tmp_path / "store"), "a")
    assert (task.kept, task.rows, task.passes, task.shortened) == (3, 3, 1, 0)
    assert task.lengths.tolist() == [4, 6, 6] and task.completions.tolist() == [2, 3, 1]
    assert task.length_quantiles == (6, 6, 6)
    assert task.completion_quantiles == (2, 3, 3)


def test_asked_and_drawn_shares_of_an_epoch(tmp_path):
    epoch = numbers.epoch_numbers(small_store(tmp_path / "store"), seed=0)
    a, b = epoch.shares
    assert (a.asked, a.drawn, b.asked, b.drawn) == (0.75, 0.75, 0.25, 0.25)
    assert (a.tokens, b.tokens) == (16 / 25, 9 / 25)
    assert (a.loss, b.loss) == (6 / 8, 2 / 8)
    assert (a.examples, a.distinct, a.cycles) == (3, 3, 1.0)


def test_a_task_drawn_more_often_than_it_has_rows_is_seen_to_repeat(tmp_path):
    store = TokenStore.create(
        tmp_path / "store", {"t": [[([1, 2], 1, "x"), ([1, 3], 1, "y")]]}, vocab_size=9, epoch_examples=6
    )
    (share,) = numbers.epoch_numbers(store, seed=0).shares
    assert (share.examples, share.distinct, share.cycles) == (6, 2, 3.0)


def test_packed_rows_are_those_of_training(tmp_path):
    store = small_store(tmp_path / "store")
    epoch = numbers.epoch_numbers(store, seed=0)
    packed = numbers.packed_numbers(store, epoch, max_length=13, seed=0)
    # Positions taken: 3, 5, 5 and 8, hence 8 + 5 and 5 + 3.
    assert (packed.rows, packed.segments, packed.most_segments) == (2, 2.0, 2)
    assert packed.density == 21 / 26
    spans = {s.name: (s.end - s.start, s.end - s.loss) for row in packed.pictured for s in row}
    assert spans == {"a:a/0": (3, 2), "a:a/1": (5, 3), "a:a/2": (5, 1), "b:b/0": (8, 2)}
    assert all(row[0].start == 0 and row[1].start == row[0].end for row in packed.pictured)


def test_histogram_counts_every_length_once():
    lengths = np.array([1, 1, 2, 3, 4, 100, 2048])
    counts = numbers.bins(lengths, 2048)
    assert counts.sum() == len(lengths) and len(counts) == 11 * numbers.PER_OCTAVE
    assert counts[0] == 2 and counts[-1] == 1


def test_page_refers_to_nothing_outside(written):
    elements = Elements(written)
    for tag, attributes in elements.found:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href", "background"):
            target = attributes.get(name) or "#"
            assert target.startswith("#") or target == "data:,", (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", written, re.S)[1]
    script = re.findall(r"<script>(.*?)</script>", written, re.S)[-1]
    assert not re.search(r"url\(|@import|@font-face", style)
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|import\(|sendBeacon|innerHTML", script)
    policy = next(meta["content"] for meta in elements.named("meta") if "http-equiv" in meta)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy


def test_markup_in_data_stays_text(written):
    elements = Elements(written)
    assert len(elements.named("script")) == 2  # the data and the page's own
    assert not elements.named("img") and not elements.named("marquee")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', written)[1])
    shown = {
        example["e"]: "".join(data["tokens"][place][1] for place in example["t"])
        for example in data["examples"]
    }
    assert stand_ins.MARKUP in shown[stand_ins.MARKUP_ID]
    # "</s>" of the data is four tokens of text; the one that ends the sequence is a token of its own.
    example = next(example for example in data["examples"] if example["e"] == stand_ins.MARKUP_ID)
    ends = [place for place, t in enumerate(example["t"]) if data["tokens"][t][2] == token_text.EOS]
    assert ends == [len(example["t"]) - 1]


def test_page_says_how_much_it_shows(tokenizer, tmp_path):
    page_store(tmp_path / "store")
    arguments = {"tokenizer": str(tokenizer), "render": False}
    few = inspect_data(str(tmp_path / "store"), str(tmp_path / "few.html"), examples=5, **arguments)
    assert "5 examples of 26 in the store are on this page." in few.read_text()
    one = inspect_data(str(tmp_path / "store"), str(tmp_path / "one.html"), tasks="markup", **arguments)
    assert "2 examples of 2 in the store are on this page." in one.read_text()
    assert "1 on this page" in one.read_text()
    full = inspect_data(str(tmp_path / "store"), str(tmp_path / "full.html"), max_bytes=2000, **arguments)
    assert "The page is full: raise MAX_BYTES" in full.read_text()


def test_drops_and_reasons_of_the_manifest_are_shown(tokenizer, tmp_path):
    page_store(tmp_path / "store", drops=True)
    target = inspect_data(
        str(tmp_path / "store"), str(tmp_path / "p.html"), tokenizer=str(tokenizer), render=False
    )
    page = Elements(target.read_text())
    rows = [page.cells(number) for number, (tag, _) in enumerate(page.found) if tag == "tr"]
    assert ["letters", "dropped", "longer <b> than max_length", "3", "20.0 %"] in rows
    assert ["letters", "shortened", "documents cut so that the prompt fits", "2", "13.3 %"] in rows
    assert ["letters", "noted", "odd", "1", ""] in rows
    assert any("no file <here>" in text for text in page.texts("ul", "plain"))
    assert not page.named("here")


def test_the_command_reads_its_gin_file_and_needs_no_framework(tokenizer, tmp_path):
    page_store(tmp_path / "store")
    command = [
        f"--gin.STORE_DIR={tmp_path / 'store'}",
        f"--gin.TOKENIZER={tokenizer}",
        f"--gin.OUTPUT={tmp_path / 'page.html'}",
        "--gin.TASKS=letters,numbers",
        "--gin.EXAMPLES=7",
        "--gin.RENDER=False",
    ]
    program = (
        "import sys\nfrom inters_jax.command_line import run_command\n"
        f"from inters_jax.inspect_data import inspect_data\nrun_command(inspect_data, {command!r})\n"
        "print([m for m in ('tensorflow', 'seqio', 'jax', 'transformers', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"{tmp_path / 'page.html'}: 7 of 24 examples, 2 tasks, 0.0 MB" in done.stdout
    assert done.stdout.strip().endswith("[]")
