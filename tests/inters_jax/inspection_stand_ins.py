"""A byte tokenizer and a small store for the tests of inspect_data."""

import html.parser
import json

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from inters_jax.data.token_store import TokenStore, fingerprint, write_json

PAD, BOS, EOS, FIRST_BYTE = range(4)
MARKUP = "<script>document.title='taken'</script></s><img src=x onerror=alert(1)>&amp;<!-- ]]>"
MARKUP_ID = "m/<marquee>\"'&"


class Elements(html.parser.HTMLParser):
    """Elements, attributes and text of a page, as a reader without scripts sees them."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self._open = []
        self.text = {}  # number of an element -> all text inside it
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link", "input", "img", "br", "wbr"):
            self._open.append((tag, len(self.found)))
        self.text[len(self.found)] = ""
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for _, number in self._open:
            self.text[number] += data

    def cells(self, row):
        """The texts of the cells of a table row, given the number of its element."""
        texts = []
        for number in range(row + 1, len(self.found)):
            tag = self.found[number][0]
            if tag == "tr":
                break
            if tag in ("td", "th"):
                texts.append(self.text[number])
        return texts

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]

    def texts(self, tag, word):
        """The text of every element of this tag with this class or id."""
        return [
            self.text[number]
            for number, (name, attributes) in enumerate(self.found)
            if name == tag and word in [*(attributes.get("class") or "").split(), attributes.get("id")]
        ]


def byte_tokenizer(folder):
    """A byte-level tokenizer without merges: token FIRST_BYTE + b is byte b."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    alphabet = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        alphabet.setdefault(byte, chr(256 + len(alphabet) - len(printable)))
    special = ["<pad>", "<s>", "</s>"]
    vocabulary = {token: number for number, token in enumerate(special)}
    vocabulary |= {alphabet[byte]: FIRST_BYTE + byte for byte in range(256)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder


def sentencepiece_description():
    """A tokenizer.json in the manner of SentencePiece with byte fallback: ids 3 and 4 are the bytes of é."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, "<0xC3>": 3, "<0xA9>": 4, "\u2581caf": 5, "!": 6}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return json.loads(tokenizer.to_str())


def ids_of(text):
    return [FIRST_BYTE + byte for byte in text.encode()]


def sequence(prompt, answer, example_id):
    return [BOS, *ids_of(prompt), *ids_of(answer), EOS], 1 + len(prompt.encode()), example_id


def page_store(folder, drops=False):
    """Tasks letters (2 passes of 6), markup (2 examples of hostile text) and numbers (12 examples)."""
    letters = [
        [sequence(f"Pass {p}: the letter after {c}?\n", chr(ord(c) + 1), f"l/{c}") for c in "abcdef"]
        for p in range(2)
    ]
    markup = [
        sequence(f"{MARKUP}\n", "<b>bold</b>", MARKUP_ID),
        sequence("plain \u202e text\n", "ok", "m/plain"),
    ]
    long = "A long story of many words goes before the question. " * 12
    counts = [sequence(f"{long}What is {n} plus one? caf\u00e9\n", str(n + 1), f"n/{n}") for n in range(12)]
    store = TokenStore.create(
        folder,
        {"letters": letters, "markup": [markup], "numbers": [counts]},
        vocab_size=FIRST_BYTE + 256,
        bos_id=BOS,
        eos_id=EOS,
        max_length=1024,
    )
    if not drops:
        return store
    manifest = json.loads((folder / "manifest.json").read_text())
    first = manifest["tasks"]["letters"]["passes"][0]
    first |= {"rows": 9, "dropped": {"longer <b> than max_length": 3}, "shortened": 2, "notes": {"odd": 1}}
    manifest["without_data"] = {"absent_task": "no file <here>"}
    manifest["fingerprint"] = fingerprint(manifest)
    write_json(folder / "manifest.json", manifest)
    return TokenStore.open(folder)
