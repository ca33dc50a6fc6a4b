"""`python -m inters_jax.serve` with a tiny random model: clients at once, and its page in a browser."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install inters-jax[serve]")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install inters-jax[serve]")

from browser_stand_ins import needs_browser, opened
from model_stand_ins import tiny_model

from inters_jax.ranking.reranker import Reranker

DOCUMENTS = ["The tower of Grindlebay is tall.", "Pears grow in the south.", "A mill grinds wheat."]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", max_position=1024)


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "inters_jax.serve", f"--gin.MODEL_DIR={model}", f"--gin.PORT={port}"]
    with log.open("w") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    found = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 180
    while True:
        try:
            with urllib.request.urlopen(found + "/health", timeout=5) as response:
                assert json.load(response)["status"] == "ok"
            break
        except (urllib.error.URLError, ConnectionError):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
    yield found
    server.terminate()
    assert server.wait(30) in (0, -15), log.read_text()


def ask(address, query, documents):
    body = json.dumps({"query": query, "documents": documents}).encode()
    request = urllib.request.Request(
        address + "/v1/rerank", body, {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["results"]


def test_many_clients_get_what_the_model_says_alone(address, model):
    ranker = Reranker.from_pretrained(model)
    queries = [f"what grows near tower number {number}" for number in range(6)]
    expected = {query: ranker.rank(query, DOCUMENTS) for query in queries}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda query: (query, ask(address, query, DOCUMENTS)), queries * 8))
    assert len(answers) == 48
    for query, results in answers:
        assert [result["index"] for result in results] == [result.doc_id for result in expected[query]]
        for result in results:
            score = expected[query].get_score_by_docid(result["index"])
            assert result["relevance_score"] == pytest.approx(1 / (1 + 2.718281828459045**-score), abs=1e-5)
    with urllib.request.urlopen(address + "/metrics", timeout=10) as response:
        text = response.read().decode()
    counts = dict(
        line.split() for line in text.splitlines() if line.startswith("inters_") and "{" not in line
    )
    assert float(counts["inters_requests_total"]) >= 48 and float(counts["inters_failures_total"]) == 0
    assert float(counts["inters_batches_total"]) < float(
        counts["inters_requests_total"]
    )  # they shared batches


@needs_browser
def test_the_page_ranks_what_is_typed_and_shows_hostile_text_as_text(address, tmp_path):
    hostile = "<img src=x onerror=\"document.title='taken'\">"
    state = urlencode([("q", "what grows"), *(("d", text) for text in (*DOCUMENTS, hostile))])

    def shown(fragment):
        return opened(f"{address}/#{fragment}", tmp_path / "profile", milliseconds=20_000, local=True)

    page = shown(state)
    assert "4 documents, " in page and page.count('<span class="rank">') == 4
    order = [result["index"] for result in ask(address, "what grows", [*DOCUMENTS, hostile])]
    places = [page.index(f'<div class="words">{DOCUMENTS[index]}') for index in order if index < 3]
    assert places == sorted(places)
    assert "&lt;img src=x" in page and "<title>Rerank documents</title>" in page
    assert "A query and at least one document are needed." in shown(urlencode([("q", "alone")]))
