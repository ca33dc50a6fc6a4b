"""What a hostile input is, and how it is tried: in this process, through the entry of the command line."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import importlib
import io
import json
import re
import resource
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gin

from inters_jax import compare as compare_command
from inters_jax import plan as plan_command
from inters_jax import sweep as sweep_command
from inters_jax.command_line import run_command
from seqio_tasks import settings
from seqio_tasks.base import UserError

ERROR, VALUE, TRACEBACK, HANG, WRONG = "error", "right value", "traceback", "hang", "wrong"
LIMIT = 10  # seconds of processor time in which a case must end

Files = Mapping[str, bytes | str | None]
Content = Callable[[bytes], bytes | str] | bytes | str | None  # of a file: new, changed, or None to remove it
NOT_TEXT = b'{"a": "\xff\xfe"}'
DEEP = "[" * 100_000


@dataclasses.dataclass(frozen=True)
class Case:
    """One hostile input and what has to come of it.

    Args:
      name: what is wrong with it.
      act: builds the files in the folder of the case, and calls a command or a reader.
      error: regular expression of the one line with which the command has to end.
      value: what has to be returned, if the input is usable after all.
    """

    name: str
    act: Callable[[Place], Any]
    error: str | None = None
    value: Any = None


@dataclasses.dataclass(frozen=True)
class Place:
    """The folder of a case, and sound inputs that are built once.

    Args:
      folder: empty, of this case alone.
      model: a tiny model with a tokenizer, as a Hugging Face folder.
      run: a training run with a checkpoint.
      store: a token store.
      evaluation: a folder with results.json and the predictions beside it.
    """

    folder: Path
    model: Path
    run: Path
    store: Path
    evaluation: Path

    def write(self, name: str, content: bytes | str) -> Path:
        """A file in the folder of the case; a name that ends in .gz is zipped."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") and data[:2] != b"\x1f\x8b" else data)
        return file

    def copy(self, source: Path, changes: Files | None = None) -> Path:
        """A copy of a sound folder with other content in some files; None removes a file."""
        target = self.folder / source.name
        shutil.copytree(source, target)
        for name, content in (changes or {}).items():
            if content is None:
                (target / name).unlink()
            else:
                self.write(f"{source.name}/{name}", content)
        return target

    def command(self, name: str, *words: str, **values: Any) -> Any:
        """Run a command with plain words and settings; returns what it returns."""
        argv = [*words, *(f"--gin.{key}={value!r}" for key, value in _plain(values).items())]
        if name == "compare":
            return compare_command.main(argv)
        if name == "sweep":
            return sweep_command.main(argv)
        module = importlib.import_module(f"inters_jax.{name}")
        return run_command(getattr(module, name), plan_command.arguments(argv))

    def rerank(self, **values: Any) -> Any:
        """`rerank` of a small collection with the tiny model, unless these settings say otherwise."""
        given = {
            "MODEL_DIR": self.model,
            "COLLECTION": self.folder / "beir",
            "OUTPUT_DIR": self.folder / "out",
            "MAX_QUERIES": 1,
            "PAIR": "ms_marco",
        }
        if "COLLECTION" not in values and "TOPICS" not in values:
            self.beir()
        if "TOPICS" in values:
            del given["COLLECTION"]
        return self.command("rerank", **(given | values))

    def beir(self, changes: Files | None = None) -> Path:
        """A BEIR folder of three documents and two queries, with other content in some files."""
        for name, content in (BEIR | dict(changes or {})).items():
            if content is not None:
                self.write(f"beir/{name}", content)
        return self.folder / "beir"


Act = Callable[[Place], Any]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def changed(**values: Any) -> Callable[[bytes], str]:
    """JSON with other values; Ellipsis removes a key."""

    def change(old: bytes) -> str:
        made = json.loads(old or b"{}") | values
        return json.dumps({key: value for key, value in made.items() if value is not ...})

    return change


def spoil(place: Place, source: Path, file: str, content: Content) -> Path:
    """A copy of a sound folder with other content in one file, or with its content changed."""
    old = source / file
    data = content(old.read_bytes() if old.is_file() else b"") if callable(content) else content
    return place.copy(source, {file: data})


def with_model(file: str, content: Content) -> Act:
    """`rerank` with a model in which one file has other content."""
    return lambda place: place.rerank(MODEL_DIR=spoil(place, place.model, file, content))


def json_lines(*records: Any) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def spoiled(data: bytes, position: int = -20) -> bytes:
    """The same bytes with one of them flipped, by default inside the stream of a small gzip file."""
    place = position % len(data)
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def zipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


CORPUS = json_lines(
    {"_id": "d1", "title": "Pearls", "text": "Pearls grow in oysters."},
    {"_id": "d2", "title": "", "text": "Oysters live in the sea."},
    {"_id": "d3", "title": "Tea", "text": "Tea grows on hills."},
)
QUERIES = json_lines(
    {"_id": "q1", "text": "how do pearls grow"}, {"_id": "q2", "text": "where does tea grow"}
)
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td3\t1\n"
BEIR: Files = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels/test.tsv": QRELS}
RUN = "q1 Q0 d1 1 2.5 first\nq1 Q0 d2 2 1.5 first\nq2 Q0 d3 1 2.0 first\n"


class Hang(BaseException):
    """A case did not end in time."""


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Ends what takes too long: by processor time, since machines are busy, or what waits for ever."""

    def late(*_: Any) -> None:
        raise Hang

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, LIMIT), signal.SIGALRM: (signal.ITIMER_REAL, 12 * LIMIT)}
    before = {number: signal.signal(number, late) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


@contextlib.contextmanager
def small_disk(size: int = 2_000) -> Iterator[None]:
    """Inside the block no file can grow beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def on_a_full_disk(act: Act, size: int = 2_000) -> Act:
    """The same with a small disk."""

    def limited(place: Place) -> Any:
        with small_disk(size):
            return act(place)

    return limited


def attempt(case: Case, place: Place) -> tuple[str, str]:
    """(what came of a case, details)."""
    gin.clear_config()
    written = io.StringIO()
    try:
        with (
            settings.override(),
            contextlib.redirect_stdout(written),
            contextlib.redirect_stderr(written),
            time_limit(),
        ):
            value = case.act(place)
    except Hang:
        return HANG, f"no end after {LIMIT} s of processor time, or {12 * LIMIT} s"
    except SystemExit as end:
        # argparse and commands without settings print their line and end with a number.
        message = end.code if isinstance(end.code, str) else written.getvalue().strip().splitlines()[-1]
        return _judged(case, message)
    except UserError as error:  # of a reader, which no command stands in front of
        return _judged(case, str(error))
    except BaseException:
        return TRACEBACK, traceback.format_exc()
    if case.error is not None:
        return WRONG, f"no error, but {value!r:.200}"
    if case.value is not None and value != case.value:
        return WRONG, f"{value!r:.300}, not {case.value!r:.300}"
    return VALUE, ""


def _judged(case: Case, message: str) -> tuple[str, str]:
    lines = message.strip().splitlines()
    if case.error is None:
        return WRONG, f"refused: {message}"
    if len(lines) != 1:
        return WRONG, f"{len(lines)} lines: {message}"
    if re.search(case.error, message) is None:
        return WRONG, f"{message}\n  does not match {case.error}"
    return ERROR, message
