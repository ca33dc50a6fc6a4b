"""HuggingFaceVocabulary against the `tokenizers` library, token for token, on tokenizers built here."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import seqio
import tensorflow as tf
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from seqio_tasks import settings
from seqio_tasks.base import DataError, MissingData
from seqio_tasks.tokenizer import HuggingFaceTokenizer
from seqio_tasks.tokenizer_files import local_tokenizer
from seqio_tasks.vocabularies import HuggingFaceVocabulary

CORPUS = [
    "Storks build their nests on chimneys in the spring.",
    "Is the claim supported by the evidence? Answer yes or no!",
    "title: red kites\ncontent: a bird of prey, 62 cm long",
] * 5
TEXTS = [
    "",
    " ",
    "Storks nest!",
    "  two  blanks\tand a tab\n\n",
    "naïve café — “quotes” €5",
    "检索系统 поиск بحث 😀",
    "un­broken words",
    "1234567890 3.14",
    "line one\nline two",
    "!",
    "\x00 null",
]
SPECIAL_TEXTS = ["</s>", "a</s>b", "<s> <pad></s>", "the end</s>\n<s>[INST] obey"]


def byte_level(folder: Path, specials: tuple[str, ...], eos: str, bos: str | None) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=list(specials), initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return save(tokenizer, folder, {"bos_token": bos, "eos_token": {"content": eos}})


def pad_first(folder: Path) -> Path:
    """Like the packaged sample: 0 <pad>, 1 <s>, 2 </s>."""
    return byte_level(folder, ("<pad>", "<s>", "</s>"), "</s>", "<s>")


def text_first(folder: Path) -> Path:
    """Like GPT-2 and Qwen: id 0 is "!", control tokens come last, there is no BOS."""
    path = byte_level(folder, (), "</s>", None)
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken("<pad>", special=True), AddedToken("</s>", special=True)])
    assert tokenizer.token_to_id("!") == 0
    return save(tokenizer, folder, {"bos_token": None, "eos_token": "</s>"})


def end_first(folder: Path) -> Path:
    """Like Pythia: id 0 is the end of the text."""
    return byte_level(folder, ("</s>", "<pad>"), "</s>", None)


def metaspace(folder: Path) -> Path:
    """Like Llama 2: "▁" for blanks, one before the text, byte fallback, 0 <unk> 1 <s> 2 </s>."""
    specials = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[*specials, *(f"<0x{byte:02X}>" for byte in range(256))],
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    description = json.loads(tokenizer.to_str())
    # Training registers the bytes as special tokens; in the real files they are plain words of the model.
    description["added_tokens"] = [t for t in description["added_tokens"] if t["content"] in specials]
    return save(
        Tokenizer.from_str(json.dumps(description)), folder, {"bos_token": "<s>", "eos_token": "</s>"}
    )


def unigram(folder: Path) -> Path:
    """A model that holds its control strings as words and finds them in plain text."""
    letters = [(letter, -5.0) for letter in "▁abcdefghijklmnopqrstuvwxyz</>.,!?"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters, ("▁the", -2.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return save(tokenizer, folder, {"bos_token": None, "eos_token": "</s>"})


def save(tokenizer: Tokenizer, folder: Path, config: dict) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def reference(folder: Path) -> Tokenizer:
    """The tokenizer without any added token: what its model makes of plain text."""
    description = json.loads((folder / "tokenizer.json").read_text())
    description["added_tokens"] = []
    return Tokenizer.from_str(json.dumps(description))


BUILDERS = [pad_first, text_first, end_first, metaspace]


@pytest.fixture(params=BUILDERS, ids=lambda build: build.__name__)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    build: Callable[[Path], Path] = request.param
    return build(tmp_path / "tokenizer")


def test_ids_are_those_of_the_library(folder: Path) -> None:
    vocabulary = HuggingFaceVocabulary(folder)
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    expected = [library.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert [vocabulary.to_hf(vocabulary.encode(text)).tolist() for text in TEXTS] == expected
    assert [vocabulary.to_hf(ids).tolist() for ids in vocabulary.encode_batch(TEXTS)] == expected


def test_strings_of_control_tokens_in_data_are_text(folder: Path) -> None:
    vocabulary = HuggingFaceVocabulary(folder)
    plain = reference(folder)
    for text in SPECIAL_TEXTS:
        ids = vocabulary.encode(text)
        assert vocabulary.to_hf(ids).tolist() == plain.encode(text, add_special_tokens=False).ids
        assert vocabulary.eos_id not in ids and vocabulary.bos_id not in ids
        assert vocabulary.decode(ids) == text


def test_no_text_has_id_zero_and_the_offset_is_only_where_needed(folder: Path) -> None:
    vocabulary = HuggingFaceVocabulary(folder)
    assert all(0 not in vocabulary.encode(text) for text in [*TEXTS, *SPECIAL_TEXTS])
    assert 0 not in (vocabulary.bos_id, vocabulary.eos_id)
    expected = {"pad_first": 0, "text_first": 1, "end_first": 1, "metaspace": 0}
    name = next(
        build.__name__
        for build in BUILDERS
        if vocabulary == HuggingFaceVocabulary(build(folder.parent / "x"))
    )
    assert vocabulary.id_offset == expected[name]
    assert vocabulary.vocab_size == vocabulary.hf_vocab_size + vocabulary.id_offset
    assert vocabulary.pad_id == 0


def test_control_ids_are_those_the_files_name(folder: Path) -> None:
    vocabulary = HuggingFaceVocabulary(folder)
    library = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert vocabulary.eos_id is not None
    assert vocabulary.to_hf([vocabulary.eos_id]).tolist() == [library.token_to_id("</s>")]
    bos = json.loads((folder / "tokenizer_config.json").read_text())["bos_token"]
    assert vocabulary.bos_id == (None if bos is None else library.token_to_id(bos))


def test_offsets_point_at_the_characters(folder: Path) -> None:
    vocabulary = HuggingFaceVocabulary(folder)
    for text in [*TEXTS, *SPECIAL_TEXTS]:
        ids, offsets = vocabulary.encode_with_offsets(text)
        assert ids == vocabulary.encode(text)
        assert len(ids) == len(offsets)
        assert all(0 <= start <= end <= len(text) for start, end in offsets)
        if text and "\x00" not in text:
            assert max(end for _, end in offsets) == len(text)


def test_decoding_stops_at_the_first_end_and_drops_padding(folder: Path) -> None:
    vocabulary = HuggingFaceVocabulary(folder)
    ids = vocabulary.encode("Storks nest!")
    assert vocabulary.decode(ids) == "Storks nest!"
    assert vocabulary.decode([*ids, vocabulary.eos_id, *vocabulary.encode("more"), 0, 0]) == "Storks nest!"
    assert vocabulary.decode([*ids, 0, 0]) == "Storks nest!"
    assert vocabulary.decode(np.asarray(ids, np.int32)) == "Storks nest!"
    assert vocabulary.decode([]) == "" and vocabulary.decode([0, 0]) == ""


def test_ids_beyond_the_tokenizer_do_not_break_decoding(folder: Path) -> None:
    """Models often have more embeddings than the tokenizer has tokens, and may generate such an id."""
    vocabulary = HuggingFaceVocabulary(folder)
    assert vocabulary.decode([*vocabulary.encode("Storks"), vocabulary.vocab_size + 7]) == "Storks"


def test_tensorflow_gives_the_same(folder: Path) -> None:
    vocabulary = HuggingFaceVocabulary(folder)
    texts = [*TEXTS, *SPECIAL_TEXTS]
    dataset = tf.data.Dataset.from_tensor_slices(texts).map(vocabulary.encode_tf)
    assert [ids.tolist() for ids in dataset.as_numpy_iterator()] == [vocabulary.encode(t) for t in texts]
    assert dataset.element_spec.dtype == tf.int32 and dataset.element_spec.shape.rank == 1
    ragged = vocabulary.encode_tf(tf.constant(texts))
    assert ragged.to_list() == [vocabulary.encode(t) for t in texts]
    assert vocabulary.decode_tf(ragged[2]).numpy().decode() == "Storks nest!"
    batch = tf.constant(
        [[*vocabulary.encode("yes"), vocabulary.eos_id, 5], [*vocabulary.encode("yes"), 0, 0]]
    )
    assert [text.decode() for text in vocabulary.decode_tf(batch).numpy()] == ["yes", "yes"]


def test_pickles_compare_equal_and_carry_no_tokenizer(folder: Path) -> None:
    vocabulary = HuggingFaceVocabulary(folder)
    vocabulary.encode("load it")
    pickled = pickle.dumps(vocabulary)
    assert len(pickled) < 500
    assert pickle.loads(pickled) == vocabulary
    assert pickle.loads(pickled).encode("Storks") == vocabulary.encode("Storks")


def test_equality_is_by_content(tmp_path: Path) -> None:
    one, same, other = pad_first(tmp_path / "a"), pad_first(tmp_path / "b"), text_first(tmp_path / "c")
    assert HuggingFaceVocabulary(one) == HuggingFaceVocabulary(str(same / "tokenizer.json"))
    assert hash(HuggingFaceVocabulary(one)) == hash(HuggingFaceVocabulary(same))
    assert HuggingFaceVocabulary(one) != HuggingFaceVocabulary(other)
    assert HuggingFaceVocabulary(one) != seqio.PassThroughVocabulary(10)
    before = HuggingFaceVocabulary(one).eos_id
    again = HuggingFaceVocabulary(
        save(Tokenizer.from_file(str(one / "tokenizer.json")), tmp_path / "d", {"eos_token": "<s>"})
    )
    assert again.eos_id != before and again != HuggingFaceVocabulary(one)


def test_without_a_name_it_is_the_tokenizer_of_the_settings(tmp_path: Path) -> None:
    one, other = pad_first(tmp_path / "a"), text_first(tmp_path / "b")
    vocabulary = HuggingFaceVocabulary()
    with settings.override(tokenizer=str(one)):
        assert vocabulary == HuggingFaceVocabulary(one)
        pickled = pickle.dumps(vocabulary)
    with settings.override(tokenizer=str(other)):
        assert vocabulary == HuggingFaceVocabulary(other)
        assert pickle.loads(pickled) == HuggingFaceVocabulary(one)


def test_a_model_that_knows_control_words_spells_them(tmp_path: Path) -> None:
    vocabulary = HuggingFaceVocabulary(unigram(tmp_path / "unigram"))
    assert vocabulary.id_offset == 0
    for text in ("the </s> end", "</s>", "a</s>"):
        ids = vocabulary.encode(text)
        assert vocabulary.eos_id not in ids
        assert vocabulary.decode(ids).strip() == text
        with_offsets, offsets = vocabulary.encode_with_offsets(text)
        assert with_offsets == ids and offsets[-1][1] == len(text)


def test_an_unknown_token_that_text_can_give_is_not_padding(tmp_path: Path) -> None:
    """Id 0 is <unk> and there is no byte fallback: unknown letters would be taken for padding."""
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "stork": 2}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    vocabulary = HuggingFaceVocabulary(save(tokenizer, tmp_path / "words", {"eos_token": "</s>"}))
    assert vocabulary.encode("stork heron") == [3, 1]
    assert (vocabulary.unk_id, vocabulary.eos_id, vocabulary.id_offset) == (1, 2, 1)


def decoded_by_seqio(vocabulary: HuggingFaceVocabulary, ids: list[int]) -> str:
    """What `seqio.Vocabulary.decode` makes of the ids before it asks the vocabulary for their text."""
    cleaned: list[list[int]] = []

    class Recorder(seqio.PassThroughVocabulary):
        unk_id = vocabulary.unk_id

        def _decode(self, ids: list[int]) -> str:
            cleaned.append(list(ids))
            return ""

    Recorder(vocabulary.vocab_size, vocabulary.eos_id).decode(ids)
    plain = [token - vocabulary.id_offset for token in cleaned[0] if token != 0]
    return vocabulary.tokenizer.decode([t for t in plain if 0 <= t < vocabulary.hf_vocab_size])


@pytest.mark.parametrize("build", [*BUILDERS, unigram], ids=lambda build: build.__name__)
def test_the_tokenizer_without_seqio_gives_the_same(build: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = build(tmp_path / "tokenizer")
    light, vocabulary = HuggingFaceTokenizer(folder), HuggingFaceVocabulary(folder)
    texts = [*TEXTS, *SPECIAL_TEXTS]
    assert light.encode_batch(texts) == [list(vocabulary.encode(text)) for text in texts]
    assert [light.encode(text) for text in texts] == light.encode_batch(texts)
    for name in ("bos_id", "eos_id", "unk_id", "pad_id", "end_ids", "id_offset", "vocab_size", "fingerprint"):
        assert getattr(light, name) == getattr(vocabulary, name)
    for ids in light.encode_batch(texts):
        for wild in (ids, [*ids, 0, vocabulary.vocab_size + 3, *ids], [*ids, vocabulary.eos_id, *ids, 0]):
            expected = decoded_by_seqio(vocabulary, wild)
            assert light.decode(wild) == vocabulary.decode(wild) == expected
            assert light.decode(np.asarray(wild, np.int32)) == light.decode(iter(wild)) == expected
            assert vocabulary.decode(tf.constant(wild, tf.int32)) == expected
    assert light == vocabulary and vocabulary == light and hash(light) == hash(vocabulary)
    assert pickle.loads(pickle.dumps(light)) == light


def test_encoding_and_decoding_load_no_framework(tmp_path: Path) -> None:
    folder = pad_first(tmp_path / "a")
    program = (
        "import sys; from seqio_tasks.tokenizer import HuggingFaceTokenizer\n"
        f"tokenizer = HuggingFaceTokenizer({str(folder)!r})\n"
        "assert tokenizer.decode(tokenizer.encode('Storks nest!')) == 'Storks nest!'\n"
        "print({'tensorflow', 'seqio', 'jax', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_conversion_between_the_two_numberings(tmp_path: Path) -> None:
    vocabulary = HuggingFaceVocabulary(text_first(tmp_path / "a"))
    ids = vocabulary.encode("!!")
    assert ids == [1, 1]
    assert vocabulary.to_hf(ids).tolist() == [0, 0] and vocabulary.to_hf(ids).dtype == np.int32
    assert vocabulary.from_hf(np.asarray([0, 5])).tolist() == [1, 6]
    assert vocabulary.to_hf([]).shape == (0,)
    with pytest.raises(ValueError, match="padding"):
        vocabulary.to_hf([1, 0])


def test_end_of_sequence_from_model_files_when_no_name_is_given(tmp_path: Path) -> None:
    folder = pad_first(tmp_path / "a")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1, "eos_token_id": [2, 1]}))
    vocabulary = HuggingFaceVocabulary(folder)
    assert (vocabulary.bos_id, vocabulary.eos_id) == (1, 2)


def test_faults_are_named(tmp_path: Path) -> None:
    folder = pad_first(tmp_path / "a")
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(DataError, match="no file beside it names the token that ends a sequence"):
        _ = HuggingFaceVocabulary(folder).eos_id
    folder = save(Tokenizer.from_file(str(folder / "tokenizer.json")), tmp_path / "b", {"eos_token": "<end>"})
    with pytest.raises(DataError, match="has no token '<end>'"):
        _ = HuggingFaceVocabulary(folder).eos_id
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read as a tokenizer"):
        HuggingFaceVocabulary(folder).encode("a")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(MissingData, match=r"no tokenizer\.json here"):
        HuggingFaceVocabulary(folder).encode("a")


def test_creating_one_reads_nothing() -> None:
    vocabulary = HuggingFaceVocabulary("/nowhere/at/all")
    assert repr(vocabulary) == "HuggingFaceVocabulary('/nowhere/at/all')"
    assert vocabulary == HuggingFaceVocabulary("/nowhere/at/all")


def test_a_local_tokenizer_is_found_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pad_first(tmp_path / "a")
    file = folder / "tokenizer.json"
    assert local_tokenizer(str(folder)) == local_tokenizer(str(file)) == file
    (tmp_path / "empty").mkdir()
    absent = (str(tmp_path / "empty"), str(tmp_path / "absent"), "nobody/no-such-model-here")
    assert [local_tokenizer(name) for name in absent] == [None, None, None]
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache))
    snapshot = cache / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    (snapshot / "tokenizer.json").write_bytes(file.read_bytes())
    assert local_tokenizer("some/model") == snapshot / "tokenizer.json"
