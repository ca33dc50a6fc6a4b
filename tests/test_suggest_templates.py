"""scripts/suggest_templates.py: proposals requested, checked, deduplicated and written; a stand-in server."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqio_tasks.catalog import pair
from seqio_tasks.templates import FOLDER, TemplateError, load, own
from seqio_tasks.templates.__main__ import main as templates_main

sys.path.append(str(Path(__file__).parents[1] / "scripts"))
proposals = importlib.import_module("template_proposals")
script = importlib.import_module("suggest_templates")
Endpoint, EndpointError, main = script.Endpoint, script.EndpointError, script.main

GOV2 = pair("inters_query_expansion_gov2")
GOOD = {
    "input": "A librarian overhears the words {title} at the desk. Write down the full wish behind them.",
    "output": "{description}",
    "cue": "The wish:",
}
OTHER = {"input": "Terse: {title}\nVerbose: ?", "output": "{description}", "cue": "Verbose:"}
KEY = "sk-very-secret"


class Server(ThreadingHTTPServer):
    """Answers with `replies` in turn (the last one for ever): (status, headers, text) or a function."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Any] = []
        self.seen: list[tuple[dict[str, Any], str | None]] = []

    def handle_error(self, *_: Any) -> None:
        pass  # clients give up on purpose here

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.seen.append((body, self.headers.get("Authorization")))
        reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
        if callable(reply):
            reply(self)
            return
        status, headers, text = reply
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


def said(content: str) -> tuple[int, dict[str, str], str]:
    return 200, {}, json.dumps({"choices": [{"message": {"content": content}}]})


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    found.shutdown()
    found.server_close()


def test_the_command_writes_a_review_file_that_can_be_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    wrong = {**GOOD, "input": "Make this longer in your own way: {titel}"}
    copy = {
        **GOOD,
        "input": load("query_expansion", ()).of("gov2")[0].input.upper().replace("TITLE", "title"),
    }
    near = {**GOOD, "input": "A librarian overhears the words {title} at the desk. Write down the full wish."}
    answer = (
        "<think>- input: no</think>Sure:\n```yaml\n"
        + yaml.safe_dump([GOOD, wrong, copy, near, OTHER])
        + "```"
    )
    server.replies = [said(answer)]
    out = tmp_path / "review.yaml"
    command = ["query_expansion", "--dataset", "gov2", "--endpoint", server.url, "--model", "m",
            "--key_env", "MY_KEY", "--number", "2", "--output", str(out)]  # fmt: skip
    assert main(command) == 0
    (body, key), text = server.seen[0], out.read_text()
    assert key == f"Bearer {KEY}" and body["model"] == "m"
    prompt = body["messages"][0]["content"]
    assert load("query_expansion", ()).description in prompt and "{title}, {description}" in prompt
    assert load("query_expansion", ()).of("gov2")[3].cue in prompt and "Write 2 new templates" in prompt
    (read,) = own.read(out)
    assert [t.input for t in read.of("gov2")] == [GOOD["input"], OTHER["input"]]
    assert "did you mean title" in text and "the same input as query_expansion.yaml: gov2[0]" in text
    assert "those of proposal 1" in text and text.count("# refused (gov2)") == 3
    shown = capsys.readouterr()
    assert "2 to review, 3 refused, 1 requests" in shown.out
    assert KEY not in text + shown.out + shown.err and not list(tmp_path.glob(".*"))
    assert main(command) == 1 and "--overwrite" in capsys.readouterr().err and len(server.seen) == 1
    assert main([*command, "--overwrite"]) == 0
    assert templates_main(["--check", str(out)]) == 0


def test_nothing_is_written_into_the_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    target = FOLDER / "query_expansion.yaml"
    command = ["query_expansion", "--endpoint", "http://localhost:1/v1", "--model", "m"]
    assert main([*command, "--output", str(target), "--overwrite"]) == 1
    assert "packaged templates are not written" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in FOLDER.iterdir()}
    with pytest.raises(TemplateError, match="did you mean query_expansion"):
        proposals.wanted_pairs("query_expantion")
    with pytest.raises(TemplateError, match="did you mean gov2"):
        proposals.wanted_pairs("query_expansion", "gov")
    for wrong in ([], command[1:3], command[3:], [*command[1:], "--model_dir", "run"]):
        with pytest.raises(SystemExit) as stop:
            main(["query_expansion", *wrong])
        assert stop.value.code == 2
    assert main(["query_expansion", "--endpoint", "file:///etc/passwd", "--model", "m"]) == 1
    assert main(["query_expantion", "--model_dir", "nowhere"]) == 1
    assert "did you mean query_expansion" in capsys.readouterr().err


def test_it_asks_again_for_what_is_missing() -> None:
    answers = ["", "no list here", "- input: [", yaml.safe_dump([GOOD])]
    prompts: list[str] = []

    def complete(prompt: str) -> str:
        prompts.append(prompt)
        return answers[len(prompts) - 1]

    found = proposals.suggest(GOV2, complete, number=1, requests=9)
    assert found.requests == 4 and len(found.accepted) == 1
    assert [r.reason for r in found.refused] == [
        "an empty answer",
        "no list of templates in the answer",
        "not valid YAML",
    ]
    prompts.clear()
    again = proposals.suggest(
        GOV2, lambda p: prompts.append(p) or yaml.safe_dump([GOOD]), number=2, requests=3
    )  # type: ignore[func-returns-value]
    assert again.requests == 3 and len(again.refused) == 2  # the same again
    assert GOOD["input"][:40] in prompts[1] and GOOD["input"][:40] not in prompts[0]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({**GOOD, "cue": "no colon"}, "cue: 'no colon' must be one line ending with a colon"),
        ({**GOOD, "output": "{title}"}, "output: 'title' is also in the input"),
        ({**GOOD, "output": "Answer: {description}"}, "output: must be one placeholder"),
        ({"input": "{title}"}, "missing"),
        ({**GOOD, "note": "x"}, "unknown keys note"),
        ({**GOOD, "input": 7}, "a mapping of texts"),
        ("text", "a mapping of texts"),
        ({**GOOD, "input": "{title} " + "word " * 91}, "length:"),
    ],
)
def test_faults_are_refused_with_a_reason(entry: Any, reason: str) -> None:
    found = proposals.suggest(GOV2, lambda _: json.dumps({"templates": [entry]}), number=1, requests=1)
    assert not found.accepted and reason in found.refused[0].reason, found.refused
    assert "# refused (gov2)" in proposals.review_file([found], "x")


def test_reversed_labelled_and_ranking_templates() -> None:
    back = {
        "input": "Shorten to what a hasty person types: {description}",
        "output": "{title}",
        "cue": "Typed:",
    }
    found = proposals.suggest(GOV2, lambda _: json.dumps([back]), number=1, requests=1)
    assert found.accepted[0].reverse
    boolq = pair("inters_reading_comprehension_boolq")
    asked = {
        "input": "Story: {context}\nClaim or question: {question}",
        "output": "{answer}",
        "cue": "Verdict:",
    }
    bare = proposals.suggest(boolq, lambda _: json.dumps([asked]), number=1, requests=1)
    assert "options: does not offer true, false" in bare.refused[0].reason
    asked["input"] += "\nPick from {options_comma}."
    assert proposals.suggest(boolq, lambda _: json.dumps([asked]), number=1, requests=1).accepted
    ranked = pair("inters_fact_retrieval_scifact")
    entry = {"family": "pairwise_choice", "output": "{identifier}", "cue": "Winner:",
             "input": "Duel of abstracts over {query}\n{documents}\nName the winner."}  # fmt: skip
    taken = proposals.suggest(ranked, lambda _: json.dumps([entry]), number=1, requests=1)
    assert taken.accepted[0].family == "pairwise_choice"
    entry["family"] = "nonsense"
    assert (
        "unknown family"
        in proposals.suggest(ranked, lambda _: json.dumps([entry]), number=1, requests=1).refused[0].reason
    )


def test_hostile_answers_are_harmless() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    for text in (bomb, "[" * 5_000, "- !!python/object/apply:os.system ['true']", "- *none", "\x00\x1b[2J"):
        found = proposals.suggest(GOV2, lambda _, text=text: text, number=1, requests=1)  # type: ignore[misc]
        assert not found.accepted and found.refused
        page = proposals.review_file([found], "x\nname: evil")
        assert "\x1b" not in page and yaml.safe_load(page) == {"task": "query_expansion", "datasets": {}}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of the client, which are not slept."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


def test_busy_servers_are_retried_after_the_wait_they_ask_for(server: Server, waits: list[float]) -> None:
    server.replies = [(429, {"Retry-After": "3"}, ""), (503, {}, ""), (500, {}, ""), said("yes")]
    assert Endpoint(server.url, "m")("hello") == "yes"
    assert waits[0] == 3 and waits[1] < waits[2] <= 8 and len(waits) == 3
    server.replies, server.seen = [(429, {}, "")], []
    with pytest.raises(EndpointError, match="429"):
        Endpoint(server.url, "m", retries=2)("hello")
    assert len(server.seen) == 3
    server.replies, server.seen = [(429, {"Retry-After": "9999"}, "")], []
    waits.clear()
    with pytest.raises(EndpointError, match="429"):
        Endpoint(server.url, "m", retries=2)("hello")
    assert waits == [] and len(server.seen) == 1  # hours are not waited


def test_refusals_are_reported_without_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    model = Endpoint(f"{server.url}/chat/completions/", "m", "MY_KEY")
    assert KEY not in repr(model) and model.url == server.url
    for reply, message in [
        ((401, {}, KEY), "is the key right"),
        ((302, {"Location": "http://127.0.0.1:1/steal"}, ""), "302"),
        ((200, {}, f'{{"error": "bad key {KEY}"}}'), r"not the answer of a chat completion.*\*\*\*"),
        ((200, {}, "x" * 3_000_000), "more than 1,000,000 bytes"),
    ]:
        server.replies = [reply]
        seen = len(server.seen)
        with pytest.raises(EndpointError, match=message) as error:
            model("hello")
        assert KEY not in str(error.value) and len(server.seen) == seen + 1
    assert {key for _, key in server.seen} == {f"Bearer {KEY}"}
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(EndpointError, match="MY_KEY is not set"):
        Endpoint(server.url, "m", "MY_KEY")
    with pytest.raises(EndpointError, match="no user or password"):
        Endpoint("http://me:pw@localhost/v1", "m")


def test_without_key_env_no_key_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.replies = [said("yes")]
    assert Endpoint(server.url, "m")("hello") == "yes"
    assert server.seen[0][1] is None


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(EndpointError, match=r"pip install 'inters-jax\[suggest\]'"):
        Endpoint("http://localhost:8000/v1", "m")


def test_silent_dripping_and_absent_servers_time_out(server: Server) -> None:
    def silent(_: Handler) -> None:
        time.sleep(0.6)

    def silent_body(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.6)

    def dripping(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(12):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)

    def broken(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()

    for reply in (silent, silent_body, dripping):
        server.replies = [reply]
        begun = time.monotonic()
        with pytest.raises(EndpointError, match=r"no answer within 0\.2 s"):
            Endpoint(server.url, "m", timeout=0.2, retries=0)("hello")
        assert time.monotonic() - begun < 2
    server.replies = [broken]
    with pytest.raises(EndpointError, match="no connection"):
        Endpoint(server.url, "m", retries=0)("hello")
    with pytest.raises(EndpointError, match="no connection"):
        Endpoint("http://127.0.0.1:1/v1", "m", retries=0)("hello")
