"""A reranker behind HTTP: `python -m inters_jax.serve --gin.MODEL_DIR=...`

Answers POST /v1/rerank with the request and answer that clients of Cohere and Jina use; GET /health, /metrics
(Prometheus), and a page to try a query at /. It listens at once; /health is 200 when the model is loaded, and
503 again when the server is about to end. `pip install inters-jax[serve]`.

    curl -s localhost:8080/v1/rerank -H 'content-type: application/json' \\
         -d '{"query": "who wrote emma", "documents": ["Jane Austen wrote Emma.", "Emma Stone acts."]}'

The server has no accounts: it listens on this machine alone unless HOST says otherwise; put a gateway with
authentication and TLS in front of it before others can reach it.
"""

from __future__ import annotations

import contextlib
import threading

from inters_jax.command_line import run_command
from inters_jax.ranking.reranker import Reranker
from inters_jax.settings.judging import InferenceSettings, MethodOptions, RankingSettings, ServerSettings
from seqio_tasks.base import UserError


def serve(
    model: InferenceSettings, ranking: RankingSettings, options: MethodOptions, server: ServerSettings
) -> None:
    """Serve a reranker until it is interrupted."""
    try:
        from inters_jax.serving.app import make_app
        from inters_jax.serving.messages import Limits
        from inters_jax.serving.protocol import make_server
        from inters_jax.serving.readiness import Front
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install inters-jax[serve]") from error
    front = Front()
    made = make_server(
        front,
        host=server.host,
        port=server.port,
        request_timeout=server.request_timeout,
        max_connections=server.max_connections,
        shutdown_timeout=server.shutdown_timeout,
        drain_seconds=server.drain_seconds,
    )
    failure: list[BaseException] = []

    def load() -> None:
        try:
            ranker = Reranker.from_settings(model, ranking, options)
            if server.warm_up:
                documents = [f"document {number} " + "word " * 8 * number for number in range(16)]
                ranker.rank("warm up", documents)
            front.app = make_app(
                ranker,
                model=ranker.name,
                method=ranking.method,
                limits=Limits(body_bytes=server.max_body_bytes, documents=server.max_documents),
                max_batch=server.max_batch,
                max_waiting=server.max_waiting,
                body_timeout=server.request_timeout,
                cors_origins=server.cors_origins,
                close_timeout=server.shutdown_timeout,
            )
            print(f"{ranker.name} ({ranking.method}) on http://{server.host}:{server.port}", flush=True)
        except BaseException as error:  # raised below, in the main thread
            failure.append(error)
            made.should_exit = True

    print(
        f"loading {model.model_dir}; http://{server.host}:{server.port}/health says when it is ready",
        flush=True,
    )
    threading.Thread(target=load, name="loading", daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        made.run()
    if failure:
        raise failure[0]


if __name__ == "__main__":
    run_command(serve)
