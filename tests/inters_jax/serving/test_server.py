"""The HTTP server: the shapes clients know, limits, clear refusals, batches shared, and load on loopback."""

import contextlib
import json
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import pytest

fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed: pip install inters-jax[serve]")
from fastapi.testclient import TestClient  # noqa: E402

from inters_jax.command_line import run_command  # noqa: E402
from inters_jax.ranking.backend import FunctionBackend  # noqa: E402
from inters_jax.ranking.errors import RerankError  # noqa: E402
from inters_jax.ranking.methods import make_method  # noqa: E402
from inters_jax.ranking.reranker import Reranker  # noqa: E402
from inters_jax.serve import serve  # noqa: E402
from inters_jax.serving.app import make_app  # noqa: E402
from inters_jax.serving.batcher import Batcher, Busy  # noqa: E402
from inters_jax.serving.messages import Limits  # noqa: E402
from inters_jax.serving.protocol import make_server  # noqa: E402
from inters_jax.serving.readiness import DrainingServer, Front  # noqa: E402
from inters_jax.settings.judging import MethodOptions  # noqa: E402

DOCUMENTS = ["a page on pears", "apples and more apples", "one apples page"]


def by_words(query, document):
    return float(sum(document.text.split().count(word) for word in query.split()))


def ranker(method="pointwise"):
    return Reranker(FunctionBackend(by_words), make_method(method), name="words", method_name=method)


@pytest.fixture
def client():
    limits = Limits(body_bytes=20_000, documents=5, query_characters=50, document_characters=200)
    with TestClient(make_app(ranker(), model="words", limits=limits)) as found:
        yield found


def post(client, **body):
    return client.post("/v1/rerank", json=body)


def test_an_answer_has_the_fields_that_clients_read(client):
    response = post(client, model="any", query="apples", documents=DOCUMENTS, top_n=2, return_documents=True)
    assert response.status_code == 200
    body = response.json()
    assert [result["index"] for result in body["results"]] == [1, 2]
    assert body["results"][0]["document"] == {"text": DOCUMENTS[1]}
    assert body["results"][0]["relevance_score"] == pytest.approx(1 / (1 + 2.718281828**-2))
    assert {"id", "model", "usage", "meta"} <= body.keys() and body["usage"]["total_tokens"] == 0


def test_a_title_may_be_null(client):
    documents = [{"text": "pears", "title": None}, {"text": "apples", "title": None}]
    response = post(client, query="apples", documents=documents)
    assert response.status_code == 200 and response.json()["results"][0]["index"] == 1
    assert post(client, query="apples", documents=[{"text": "pears", "title": 3}]).status_code == 422


def test_documents_may_be_objects_and_keep_their_fields(client):
    documents = [{"text": "pears", "id": 7}, {"text": "apples", "title": "t", "url": "u"}]
    body = post(client, query="apples", documents=documents, return_documents=True).json()
    assert body["results"][0] == body["results"][0] | {"index": 1}
    assert body["results"][0]["document"] == {"text": "apples", "title": "t", "url": "u"}
    assert "document" not in post(client, query="apples", documents=documents).json()["results"][0]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_every_known_path_answers(client, path):
    body = client.post(path, json={"query": "apples", "documents": DOCUMENTS}).json()
    assert [result["index"] for result in body["results"]] == [1, 2, 0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"documents": DOCUMENTS}, "query: Field required"),
        ({"query": "  ", "documents": DOCUMENTS}, "the query is blank"),
        ({"query": "q", "documents": []}, "documents: List should have at least 1 item"),
        ({"query": "q", "documents": [3]}, "documents.0"),
        ({"query": "q", "documents": DOCUMENTS, "top_n": -1}, "top_n"),
        ({"query": "q", "documents": ["d"] * 6}, "6 documents; one request may have 5"),
        ({"query": "q" * 51, "documents": ["d"]}, "the query has 51 characters; 50 are allowed"),
        ({"query": "q", "documents": ["d", "x" * 201]}, "document 1 has 201 characters"),
    ],
)
def test_bad_requests_are_refused_with_words(client, body, message):
    response = client.post("/v1/rerank", json=body)
    assert response.status_code == 422
    assert message in response.json()["message"] and response.json()["detail"] == response.json()["message"]


def test_what_is_no_json_or_too_large_is_refused(client):
    broken = client.post("/v1/rerank", content=b"{", headers={"content-type": "application/json"})
    assert broken.status_code == 422 and "JSON" in broken.json()["message"]
    stated = client.post("/v1/rerank", content=b"x" * 20_001)
    assert stated.status_code == 413 and "larger than 20000 bytes" in stated.json()["message"]
    unstated = client.post("/v1/rerank", content=(b"x" * 9000 for _ in range(3)))
    assert unstated.status_code == 413
    assert client.get("/v1/rerank").status_code == 405
    assert client.get("/nothing").json()["message"] == "Not Found"
    assert post(client, query="apples", documents=DOCUMENTS).status_code == 200  # and the server lives on


def test_health_models_and_metrics(client):
    post(client, query="apples", documents=DOCUMENTS)
    assert client.get("/health").json() == {
        "status": "ok", "model": "words", "method": "pointwise", "waiting": 0,
    }  # fmt: skip
    assert client.get("/v1/models").json()["data"][0]["id"] == "words"
    lines = client.get("/metrics").text.splitlines()
    assert "inters_requests_total 1" in lines and "inters_documents_total 3" in lines
    assert "inters_latency_seconds_count 1" in lines


def test_the_page_allows_only_its_own_script(client):
    response = client.get("/")
    assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'sha256-")
    assert "words" in response.text and "{{" not in response.text


def test_methods_without_probabilities_answer_by_rank():
    with TestClient(make_app(ranker("listwise"), model="words", method="listwise")) as client:
        body = post(client, query="apples", documents=DOCUMENTS).json()
        scores = [result["relevance_score"] for result in body["results"]]
        assert scores == pytest.approx([1.0, 2 / 3, 1 / 3])


class Slow:
    """Holds the first batch until it is let go; says how large batches are."""

    def __init__(self):
        self.go, self.sizes, self.inner = threading.Event(), [], ranker()

    def rank_batch(self, queries, docs):
        self.sizes.append(len(queries))
        assert self.go.wait(10)
        if any(query == "bad" for query in queries):
            raise RerankError("this query cannot be ranked")
        return self.inner.rank_batch(queries, docs)


def test_requests_that_wait_are_ranked_together_and_a_bad_one_fails_alone():
    slow = Slow()
    batcher = Batcher(slow, max_batch=8)
    futures = [batcher.submit(query, ["apples", "pears"]) for query in ("first", "pears", "bad", "apples")]
    slow.go.set()
    assert futures[1].result(10)[0].text == "pears" and futures[3].result(10)[0].text == "apples"
    with pytest.raises(RerankError, match="cannot be ranked"):
        futures[2].result(10)
    # The first went alone or with the others; the batch with the bad one was tried again one by one.
    assert max(slow.sizes) >= 3 and batcher.statistics.failures == 1 and batcher.statistics.requests == 3
    batcher.close()


def test_a_full_queue_refuses_and_the_client_is_told_to_come_back():
    slow = Slow()
    batcher = Batcher(slow, max_batch=1, max_waiting=2)
    batcher.submit("first", ["d"])
    deadline = time.monotonic() + 10
    while batcher.waiting and time.monotonic() < deadline:
        time.sleep(0.001)
    batcher.submit("second", ["d"])
    batcher.submit("third", ["d"])
    with pytest.raises(Busy, match="2 requests are waiting already"):
        batcher.submit("fourth", ["d"])
    slow.go.set()
    batcher.close()
    with pytest.raises(RuntimeError, match="shut down"):
        batcher.submit("fifth", ["d"])


def test_a_busy_server_answers_503():
    slow = Slow()
    app = make_app(slow, model="slow", max_batch=1, max_waiting=1)
    with TestClient(app) as client, ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(post, client, query="q", documents=["d"]) for _ in range(8)]
        deadline = time.monotonic() + 10
        while app.state.batcher.statistics.refused < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        slow.go.set()
        responses = [call.result() for call in calls]
    codes = sorted(response.status_code for response in responses)
    assert codes == [200, 200] + [503] * 6
    refused = next(response for response in responses if response.status_code == 503)
    assert refused.headers["retry-after"] == "1" and "waiting already" in json.loads(refused.text)["message"]


def test_many_clients_at_once_each_get_their_own_answer():
    with TestClient(make_app(ranker(), model="words")) as client, ThreadPoolExecutor(16) as pool:

        def ask(number):
            documents = [f"word{other}" for other in range(40)]
            body = post(client, query=f"word{number}", documents=documents, top_n=1).json()
            return body["results"][0]["index"]

        assert list(pool.map(ask, [n % 40 for n in range(120)])) == [n % 40 for n in range(120)]
        statistics = client.app.state.batcher.statistics
        assert statistics.requests == 120 and statistics.failures == 0


def test_top_n_of_0_means_all(client):
    assert len(post(client, query="apples", documents=DOCUMENTS, top_n=0).json()["results"]) == 3


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models", "/"])
def test_head_answers_what_get_answers_without_a_body(path):
    with serving() as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("HEAD", path)
        response = connection.getresponse()
        assert response.status == 200 and response.read() == b""
        connection.request("GET", path)  # on the same connection
        assert connection.getresponse().status == 200
        connection.close()


def test_pages_of_the_named_origins_may_ask():
    app = make_app(ranker(), model="words", cors_origins=("https://example.org",))
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    with TestClient(app) as client:
        for origin, allowed in (("https://example.org", "https://example.org"), ("https://other.org", None)):
            answered = client.get("/health", headers={"origin": origin})
            assert answered.headers.get("access-control-allow-origin") == allowed
            before = client.options("/v1/rerank", headers={"origin": origin, **asked})
            assert (before.status_code == 200) == (allowed is not None)
    with TestClient(make_app(ranker(), model="words")) as client:
        answered = client.get("/health", headers={"origin": "https://example.org"})
        assert "access-control-allow-origin" not in answered.headers


def test_metrics_are_whole_numbers_and_do_not_stop_at_the_window(client):
    statistics = client.app.state.batcher.statistics
    statistics.prompt_tokens, statistics.busy_seconds = 9_876_543_210, 1_234_567.25
    statistics.requests, statistics.latency_seconds = 5000, 2500.5
    statistics.latencies.extend([0.5] * 3000)
    lines = client.get("/metrics").text.splitlines()
    assert (
        "inters_prompt_tokens_total 9876543210" in lines and "inters_busy_seconds_total 1234567.25" in lines
    )
    assert "inters_latency_seconds_count 5000" in lines and "inters_latency_seconds_sum 2500.5" in lines
    statistics.requests = 0
    post(client, query="apples", documents=DOCUMENTS)
    assert statistics.requests == 1 and statistics.latency_seconds > 2500.5


BAD_VALUES = [
    ('"\\ud83d"', "half of a surrogate pair (\\ud83d)"),
    ("NaN", "the number nan"),
    ("1e999", "the number inf"),
    ("-Infinity", "the number -inf"),
]


@pytest.mark.parametrize(("value", "message"), BAD_VALUES)
@pytest.mark.parametrize(
    "body",
    [
        '{"query": %s, "documents": ["d"]}',
        '{"query": "q", "documents": [%s]}',
        '{"query": "q", "documents": [{"text": "d", "extra": {"deep": [%s]}}], "return_documents": true}',
        '{"query": "q", "documents": ["d"], "ignored": %s}',
    ],
)
def test_values_that_are_no_text_or_number_are_refused_and_the_connection_stays(server, body, value, message):
    connection = HTTPConnection("127.0.0.1", server, timeout=10)
    headers = {"content-type": "application/json"}
    for _ in range(2):
        connection.request("POST", "/v1/rerank", body % value, headers)
        response = connection.getresponse()
        assert response.status == 422 and message in json.loads(response.read())["message"]
    connection.request("POST", "/v1/rerank", body % '"d"', headers)
    assert connection.getresponse().status == 200
    connection.close()


def test_a_key_that_is_no_text_is_refused(client):
    content = b'{"query": "q", "documents": [{"text": "d", "\\udc00": 1}], "return_documents": true}'
    response = client.post("/v1/rerank", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 422 and "\\udc00" in response.json()["message"]


def test_a_failing_model_answers_500_and_the_connection_stays():
    class Broken:
        def rank_batch(self, queries, docs):
            raise TypeError("a fault of the model")

    with serving(make_app(Broken(), model="broken")) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(2):
            connection.request("POST", "/rerank", REQUEST, {"content-type": "application/json"})
            response = connection.getresponse()
            assert response.status == 500 and "see its log" in json.loads(response.read())["message"]
        connection.close()


REQUEST = json.dumps({"query": "apples", "documents": ["apples"] * 4})
HEADER = (
    f"POST /rerank HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(REQUEST)}"
)


@contextlib.contextmanager
def serving(app=None, **limits):
    """A real server in a thread; yields its port. Afterwards it must end within a few seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = make_app(ranker(), model="words") if app is None else app
    made = make_server(app, host="127.0.0.1", port=port, **({"shutdown_timeout": 2} | limits))
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    until(lambda: made.started)
    try:
        yield port
    finally:
        if isinstance(made, DrainingServer):
            made.drain()  # what SIGTERM does
        else:
            made.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def server():
    with serving() as port:
        yield port


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def opened(port, text=""):
    found = socket.create_connection(("127.0.0.1", port), timeout=10)
    found.sendall(text.encode())
    return found


def test_abandoned_requests_are_not_ranked_and_free_their_place():
    slow = Slow()
    app = make_app(slow, model="slow", max_batch=1, max_waiting=8)
    batcher = app.state.batcher
    with serving(app) as port:
        clients = [opened(port, f"{HEADER}\r\n\r\n{REQUEST}") for _ in range(9)]
        until(lambda: batcher.waiting == 8 and slow.sizes)
        for client in clients:
            client.close()
        until(lambda: batcher.waiting == 0)
        assert batcher.statistics.abandoned == 8
        live = opened(port, f"{HEADER}\r\n\r\n{REQUEST}")  # not 503
        until(lambda: batcher.waiting == 1)
        slow.go.set()
        assert live.recv(1000).startswith(b"HTTP/1.1 200")
        live.close()
    assert len(slow.sizes) == 2 and batcher.statistics.requests == 2  # the first ran already


def test_a_batch_of_several_requests_is_bounded_by_their_documents():
    slow = Slow()
    batcher = Batcher(slow, max_batch=8, max_batch_documents=5)
    first = batcher.submit("first", ["apples"])
    until(lambda: slow.sizes)
    rest = [batcher.submit("apples", ["apples"] * size) for size in (3, 2, 1, 9, 1)]
    slow.go.set()
    assert [len(one.result(10)) for one in [first, *rest]] == [1, 3, 2, 1, 9, 1]
    assert slow.sizes == [1, 2, 1, 1, 1]
    batcher.close()


@pytest.mark.parametrize("start", ["", "POST /rerank HTTP/1.1\r\nhost: a\r\n"])
def test_a_header_must_arrive_in_time(start):
    with serving(request_timeout=0.3) as port:
        slow = opened(port, start)
        assert slow.recv(1000).startswith(b"HTTP/1.1 408") and slow.recv(1000) == b""
        # Also the second request of a connection, sent byte by byte.
        again = opened(port, "GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        assert b"200 OK" in again.recv(10_000)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                again.sendall(b"G")
                time.sleep(0.02)
            pytest.fail("the connection is still open")


def test_a_body_must_arrive_in_time():
    with serving(make_app(ranker(), model="words", body_timeout=0.3)) as port:
        slow = opened(port, f"{HEADER}\r\n\r\n{{")
        text = b""
        while piece := slow.recv(1000):
            text += piece
        assert text.startswith(b"HTTP/1.1 408") and b"did not arrive within 0.3 seconds" in text


def test_connections_above_the_limit_are_refused_at_once():
    with serving(max_connections=3) as port:
        held = [opened(port) for _ in range(3)]
        time.sleep(0.1)
        assert opened(port).recv(1000).startswith(b"HTTP/1.1 503")
        held.pop().close()
        time.sleep(0.1)
        assert b"200 OK" in opened(port, "GET /health HTTP/1.1\r\nhost: a\r\n\r\n").recv(10_000)


def test_the_end_does_not_wait_for_half_sent_requests():
    with serving(shutdown_timeout=60) as port:
        held = [opened(port), opened(port, "POST /rer"), opened(port, f"{HEADER}\r\n\r\n{{")]
        time.sleep(0.1)
        started = time.monotonic()
    assert time.monotonic() - started < 5 and all(one.recv(1000) == b"" for one in held)


def test_running_requests_are_finished_before_the_end():
    slow = Slow()
    app = make_app(slow, model="slow")
    with serving(app, shutdown_timeout=10) as port:
        client = opened(port, f"{HEADER}\r\n\r\n{REQUEST}")
        until(lambda: slow.sizes)
        threading.Timer(0.5, slow.go.set).start()
    assert client.recv(1000).startswith(b"HTTP/1.1 200")


def get(port, path):
    """Status and content; a new connection for each request, as gateways without keep-alive make them."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    method, body = ("POST", REQUEST) if path == "/rerank" else ("GET", None)
    connection.request(method, path, body, {"content-type": "application/json"})
    response = connection.getresponse()
    found = response.status, response.getheader("Retry-After"), response.read()
    connection.close()
    return found


def test_a_server_listens_while_its_model_loads():
    front = Front()
    with serving(front) as port:
        status, again, body = get(port, "/health")
        assert (status, again, json.loads(body)) == (503, "5", {"status": "loading"})
        status, again, body = get(port, "/rerank")
        assert (status, again) == (503, "5") and "is being loaded" in json.loads(body)["message"]
        front.app = make_app(ranker(), model="words")
        assert get(port, "/health")[0] == get(port, "/rerank")[0] == 200


def test_a_server_that_is_to_end_finishes_what_runs_and_refuses_what_comes():
    front, slow, answers = Front(), Slow(), []
    front.app = make_app(slow, model="slow")
    with serving(front, shutdown_timeout=10, drain_seconds=1) as port:
        running = threading.Thread(target=lambda: answers.append(get(port, "/rerank")))
        running.start()
        until(lambda: slow.sizes)

        def later():
            until(lambda: front.draining)
            answers.extend(get(port, path) for path in ("/health", "/rerank", "/metrics"))
            slow.go.set()

        while_draining = threading.Thread(target=later)
        while_draining.start()
    running.join()
    while_draining.join()
    health, refused, metrics, answered = answers
    assert health[:2] == refused[:2] == (503, "1") and json.loads(health[2]) == {"status": "draining"}
    assert "is being shut down" in json.loads(refused[2])["message"] and metrics[0] == 200
    assert answered[0] == 200 and json.loads(answered[2])["results"]


def test_a_request_that_does_not_end_is_given_up_at_the_end():
    slow = Slow()
    app = make_app(slow, model="slow", close_timeout=0.2)
    with serving(app, shutdown_timeout=1) as port:
        client = opened(port, f"{HEADER}\r\n\r\n{REQUEST}")  # a closed connection would not be ranked
        until(lambda: slow.sizes)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    client.close()
    slow.go.set()


def test_very_small_chunks_are_refused_and_do_not_hold_up_others():
    with serving() as port:
        client = opened(port, f"{HEADER.split('content-length')[0]}transfer-encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):  # the server closes while they are sent
            client.sendall(b"1\r\n \r\n" * 200_000)
        started = time.monotonic()
        assert b"200 OK" in opened(port, "GET /health HTTP/1.1\r\nhost: a\r\n\r\n").recv(10_000)
        assert time.monotonic() - started < 1
        normal = opened(port, f"{HEADER.split('content-length')[0]}transfer-encoding: chunked\r\n\r\n")
        body = json.dumps({"query": "apples", "documents": ["apples"]}).encode()
        normal.sendall(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        assert normal.recv(1000).startswith(b"HTTP/1.1 200")


def test_the_options_of_the_method_reach_the_ranker(monkeypatch):
    seen = []

    def from_settings(model, ranking, options):
        seen.append((model.model_dir, ranking.method, options))
        raise RerankError("seen")

    monkeypatch.setattr(Reranker, "from_settings", from_settings)
    options = ["--gin.WINDOW=4", "--gin.STRIDE=2", "--gin.WINDOW_PASSES=3", "--gin.SHUFFLES=5"]
    for method, arguments in (("listwise", options), ("setwise", ["--gin.SORT=bubble", "--gin.TOP_K=7"])):
        with pytest.raises(SystemExit, match="seen"):
            run_command(serve, ["--gin.MODEL_DIR=m", f"--gin.METHOD={method}", *arguments])
    assert seen == [
        ("m", "listwise", MethodOptions(window=4, stride=2, window_passes=3, shuffles=5)),
        ("m", "setwise", MethodOptions(sort="bubble", top_k=7)),
    ]


def test_a_server_leaves_the_logging_of_its_process_as_it_is():
    class Kept(logging.Handler):
        closed = False

        def close(self):
            self.closed = True

    handler = Kept()
    make_server(None, host="127.0.0.1", port=0)
    assert not handler.closed and handler in [reference() for reference in logging._handlerList]
