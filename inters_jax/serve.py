"""A reranker behind HTTP: `python -m inters_jax.serve --gin.MODEL_DIR=...`

Answers POST /v1/rerank with the request and answer that clients of Cohere and Jina use; GET /health, /metrics
(Prometheus), and a page to try a query at /. `pip install inters-jax[serve]`.

    curl -s localhost:8080/v1/rerank -H 'content-type: application/json' \\
         -d '{"query": "who wrote emma", "documents": ["Jane Austen wrote Emma.", "Emma Stone acts."]}'

The server has no accounts: it listens on this machine alone unless HOST says otherwise; put a gateway with
authentication and TLS in front of it before others can reach it.
"""

from __future__ import annotations

from typing import Any

from inters_jax.config import run_command
from inters_jax.ranking.methods import MethodOptions
from inters_jax.ranking.reranker import Reranker
from seqio_tasks.base import UserError


def serve(
    model_dir: str,
    method: str = "pointwise",
    pair: str = "inters_general_retrieval_ms_marco",
    host: str = "127.0.0.1",
    port: int = 8080,
    step: int | None = None,
    tokenizer: str | None = None,
    max_length: int = 2048,
    dtype: str = "float32",
    mesh: str | None = None,
    batch_tokens: int | None = None,
    chat_template: str | None = None,
    max_batch: int = 32,
    max_waiting: int = 256,
    max_documents: int = 1000,
    max_body_bytes: int = 4_000_000,
    warm_up: bool = True,
    options: dict[str, Any] | None = None,
) -> None:
    """Serves until it is interrupted.

    Args:
      model_dir: run folder of train, Hugging Face folder or hub name.
      method: pointwise, query_likelihood, pairwise, setwise, listwise, first_token, self_consistency.
      pair: the ranking task whose wording is used.
      host: address to listen on; the default is reached from this machine alone.
      port: TCP port.
      step: checkpoint of a run folder; None: the last.
      tokenizer: tokenizer.json or its folder, instead of the model's own.
      max_length: longest prompt in tokens; documents are shortened to fit.
      dtype: compute type; logits are float32 in any case.
      mesh: devices, such as "fsdp=-1"; None: the first one.
      batch_tokens: tokens that the model sees at once, the memory knob.
      chat_template: None for the one of training, which a run folder and its export know (others: plain
        prompts); "none", "tokenizer", or a file (see `seqio_tasks.prompts.chat`).
      max_batch: requests that are ranked together.
      max_waiting: requests that may wait; more are answered with 503.
      max_documents: of one request.
      max_body_bytes: of one request.
      warm_up: rank a few documents before listening, so that the first client does not wait for compilation.
      options: of the method, named as in MethodOptions, such as {"window": 10}.
    """
    try:
        import uvicorn

        from inters_jax.serving.app import make_app
        from inters_jax.serving.messages import Limits
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install inters-jax[serve]") from error
    if not 0 <= port <= 65535:
        raise UserError(f"PORT={port} is no TCP port")
    ranker = Reranker.from_pretrained(
        model_dir,
        method=method,
        pair=pair,
        max_length=max_length,
        dtype=dtype,
        mesh=mesh,
        batch_tokens=batch_tokens,
        step=step,
        tokenizer=tokenizer,
        chat_template=chat_template,
        options=MethodOptions(**(options or {})),
    )
    if warm_up:
        ranker.rank("warm up", [f"document {number} " + "word " * 8 * number for number in range(16)])
    limits = Limits(body_bytes=max_body_bytes, documents=max_documents)
    app = make_app(
        ranker,
        model=ranker.name,
        method=method,
        limits=limits,
        max_batch=max_batch,
        max_waiting=max_waiting,
    )
    print(f"{ranker.name} ({method}) on http://{host}:{port}", flush=True)
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)


if __name__ == "__main__":
    run_command(serve)
