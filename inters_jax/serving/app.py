"""The HTTP application: `/v1/rerank`, `/health`, `/metrics`, and a page to try queries at `/`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from inters_jax.ranking.errors import RerankError
from inters_jax.ranking.reranker import RankedResults
from inters_jax.reports.page import asset, content_policy, render
from inters_jax.serving.batcher import Batcher, Busy, Ranker
from inters_jax.serving.messages import Limits, RerankRequest, answer, refusal, validation_message

Asgi = Callable[..., Awaitable[None]]
log = logging.getLogger("inters_jax.serving")


class BodyLimit:
    """Refuses bodies that are too large, also if they do not state their length, or too slow.

    Args:
      app: the application, which gets the body at once.
      limit: bytes.
      timeout: seconds in which the body must arrive.
    """

    def __init__(self, app: Asgi, limit: int, timeout: float = 30.0) -> None:
        self.app, self.limit, self.timeout = app, limit, timeout

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        body = bytearray()
        more = scope["method"] in ("POST", "PUT", "PATCH")
        too_long = stated.isdigit() and int(stated) > self.limit
        try:
            async with asyncio.timeout(self.timeout):
                while more and not too_long:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    too_long = len(body) > self.limit
        except TimeoutError:
            text = f"the body did not arrive within {self.timeout:g} seconds"
            await JSONResponse(refusal(text), 408, {"connection": "close"})(scope, receive, send)
            return
        if too_long:
            text = f"the request is larger than {self.limit} bytes"
            await JSONResponse(refusal(text), 413)(scope, receive, send)
            return
        replayed = False

        async def replay() -> Any:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, replay, send)


def make_app(
    ranker: Ranker,
    *,
    model: str,
    method: str = "pointwise",
    limits: Limits | None = None,
    max_batch: int = 32,
    max_waiting: int = 256,
    body_timeout: float = 30.0,
    cors_origins: Sequence[str] = (),
    close_timeout: float | None = None,
) -> FastAPI:
    """The application for a Reranker.

    Args:
      ranker: a Reranker, or anything with its `rank_batch`.
      model: name of the model, for answers and the page.
      method: name of the ranking method; the scores of "pointwise" become probabilities.
      limits: of one request.
      max_batch, max_waiting: see `Batcher`.
      body_timeout: seconds in which the body of a request must arrive.
      cors_origins: origins of pages that may ask from a browser ("*" for all).
      close_timeout: seconds to wait for the batch that is being ranked at the end; None: until it is done.
    """
    allowed = limits or Limits()
    batcher = Batcher(
        ranker, max_batch=max_batch, max_waiting=max_waiting, max_batch_documents=allowed.documents
    )

    close = functools.partial(batcher.close, close_timeout)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(close)

    app = FastAPI(title="inters-jax reranker", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.batcher, app.state.close = batcher, close
    app.add_middleware(BodyLimit, limit=allowed.body_bytes, timeout=body_timeout)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],
        )
    page, policy = _page(model, method)

    async def rerank(request: RerankRequest, connection: Request) -> Response:
        too_large = request.exceeds(allowed)
        if too_large:
            return JSONResponse(refusal(too_large), 422)
        try:
            found = await _unless_gone(batcher.submit(request.query, request.texts()), connection)
            if found is None:
                return Response(status_code=499)  # nobody reads it
            return JSONResponse(answer(request, found, model, probabilities=method == "pointwise"))
        except Busy as error:
            return JSONResponse(refusal(str(error)), 503, headers={"Retry-After": "1"})
        except RerankError as error:
            return JSONResponse(refusal(str(error)), 422)
        except Exception:  # not left to the server, which would close the connection
            log.exception("a request could not be answered")
            return JSONResponse(refusal("the reranker failed; see its log"), 500)

    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        app.post(path)(rerank)

    def readable(path: str) -> Callable[[Callable[..., Any]], Any]:
        """Route GET and HEAD."""

        def add(function: Callable[..., Any]) -> Any:
            app.head(path, include_in_schema=False)(function)
            return app.get(path)(function)

        return add

    @readable("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": model, "method": method, "waiting": batcher.waiting}

    @readable("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": model, "object": "model", "owned_by": "local"}]}

    @readable("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(_metrics(batcher), media_type="text/plain; version=0.0.4")

    @readable("/")
    async def form() -> HTMLResponse:
        headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(page, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse(refusal(validation_message(list(error.errors()))), 422)

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(refusal(str(error.detail)), error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(refusal("the reranker failed; see its log"), 500)

    return app


async def _unless_gone(ranking: Future[RankedResults], request: Request) -> RankedResults | None:
    """The result of a ranking, or None if the client disconnects first; the ranking is then cancelled."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    result, disconnect = asyncio.wrap_future(ranking), asyncio.ensure_future(gone())
    waiting: set[asyncio.Future[Any]] = {result, disconnect}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return result.result() if result.done() else None
    finally:
        disconnect.cancel()
        result.cancel()


def _metrics(batcher: Batcher) -> str:
    """Counters in the text format of Prometheus."""
    found = batcher.statistics
    counters = (
        ("requests_total", "counter", "Requests ranked.", found.requests),
        ("documents_total", "counter", "Documents ranked.", found.documents),
        ("prompt_tokens_total", "counter", "Prompt tokens read.", found.prompt_tokens),
        ("failures_total", "counter", "Requests that could not be ranked.", found.failures),
        ("refused_total", "counter", "Requests refused because the queue was full.", found.refused),
        ("abandoned_total", "counter", "Requests whose clients disconnected before.", found.abandoned),
        ("batches_total", "counter", "Batches of requests.", found.batches),
        ("busy_seconds_total", "counter", "Seconds that the model was busy.", found.busy_seconds),
        ("waiting", "gauge", "Requests in the queue.", batcher.waiting),
    )
    lines = []
    for name, kind, text, value in counters:
        lines += [f"# HELP inters_{name} {text}", f"# TYPE inters_{name} {kind}", f"inters_{name} {value}"]
    latencies = sorted(found.latencies)
    name = "inters_latency_seconds"
    lines += [
        f"# HELP {name} Seconds from arrival to answer; quantiles of the last {found.latencies.maxlen}.",
        f"# TYPE {name} summary",
    ]
    for share in (0.5, 0.95, 0.99):
        place = min(len(latencies) - 1, int(share * len(latencies)))
        lines.append(f'{name}{{quantile="{share:g}"}} {latencies[place] if latencies else float("nan"):g}')
    lines += [f"{name}_sum {found.latency_seconds}", f"{name}_count {found.requests}"]
    return "\n".join(lines) + "\n"


def _page(model: str, method: str) -> tuple[str, str]:
    """The page and its Content-Security-Policy: its own script by hash, requests to this server only."""
    script, connect = asset("serve.js"), "'self'"
    html = render(
        "serve",
        script=script,
        connect=connect,
        title="Rerank documents",
        eyebrow="inters-jax reranker",
        facts={"model": model, "method": method},
    )
    return html, f"{content_policy(script, connect)}; frame-ancestors 'none'"
