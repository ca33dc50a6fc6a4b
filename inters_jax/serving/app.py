"""The HTTP application: `/v1/rerank`, `/health`, `/metrics`, and a page to try queries at `/`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from inters_jax.ranking.errors import RerankError
from inters_jax.reports.page import asset, content_policy, render
from inters_jax.serving.batcher import Batcher, Busy, Ranker
from inters_jax.serving.messages import Limits, RerankRequest, answer, refusal, validation_message

Asgi = Callable[..., Awaitable[None]]


class BodyLimit:
    """Refuses bodies above a size limit, including chunked ones that do not state their length."""

    def __init__(self, app: Asgi, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        body = b""
        more = scope["method"] in ("POST", "PUT", "PATCH")
        too_long = stated.isdigit() and int(stated) > self.limit
        while more and not too_long:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            too_long = len(body) > self.limit
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
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


def make_app(
    ranker: Ranker,
    *,
    model: str,
    method: str = "pointwise",
    limits: Limits | None = None,
    max_batch: int = 32,
    max_waiting: int = 256,
) -> FastAPI:
    """The application for a Reranker.

    Args:
      ranker: a Reranker, or anything with its `rank_batch`.
      model: name of the model, for answers and the page.
      method: name of the ranking method; the scores of "pointwise" become probabilities.
      limits: of one request.
      max_batch, max_waiting: see `Batcher`.
    """
    allowed = limits or Limits()
    batcher = Batcher(ranker, max_batch=max_batch, max_waiting=max_waiting)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(batcher.close)

    app = FastAPI(title="inters-jax reranker", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.batcher = batcher
    app.add_middleware(BodyLimit, limit=allowed.body_bytes)
    page, policy = _page(model, method)

    async def rerank(request: RerankRequest) -> Response:
        too_large = request.exceeds(allowed)
        if too_large:
            return JSONResponse(refusal(too_large), 422)
        try:
            found = await asyncio.wrap_future(batcher.submit(request.query, request.texts()))
        except Busy as error:
            return JSONResponse(refusal(str(error)), 503, headers={"Retry-After": "1"})
        except RerankError as error:
            return JSONResponse(refusal(str(error)), 422)
        return JSONResponse(answer(request, found, model, probabilities=method == "pointwise"))

    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        app.post(path)(rerank)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "model": model, "method": method, "waiting": batcher.waiting}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": model, "object": "model", "owned_by": "local"}]}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(_metrics(batcher), media_type="text/plain; version=0.0.4")

    @app.get("/")
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


def _metrics(batcher: Batcher) -> str:
    """Counters in the text format of Prometheus."""
    found = batcher.statistics
    counters = (
        ("requests_total", "counter", "Requests ranked.", found.requests),
        ("documents_total", "counter", "Documents ranked.", found.documents),
        ("prompt_tokens_total", "counter", "Prompt tokens read.", found.prompt_tokens),
        ("failures_total", "counter", "Requests that could not be ranked.", found.failures),
        ("refused_total", "counter", "Requests refused because the queue was full.", found.refused),
        ("batches_total", "counter", "Batches of requests.", found.batches),
        ("busy_seconds_total", "counter", "Seconds that the model was busy.", found.busy_seconds),
        ("waiting", "gauge", "Requests in the queue.", batcher.waiting),
    )
    lines = []
    for name, kind, text, value in counters:
        lines += [f"# HELP inters_{name} {text}", f"# TYPE inters_{name} {kind}", f"inters_{name} {value:g}"]
    latencies = sorted(found.latencies)
    name = "inters_latency_seconds"
    lines += [
        f"# HELP {name} Seconds from arrival to answer, over the last {found.latencies.maxlen} requests.",
        f"# TYPE {name} summary",
    ]
    for share in (0.5, 0.95, 0.99):
        place = min(len(latencies) - 1, int(share * len(latencies)))
        lines.append(f'{name}{{quantile="{share:g}"}} {latencies[place] if latencies else float("nan"):g}')
    lines += [f"{name}_sum {sum(latencies):g}", f"{name}_count {len(latencies)}"]
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
