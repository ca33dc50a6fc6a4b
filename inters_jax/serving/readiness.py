"""What a server answers while its model loads, and while it ends.

    loading     /health and all requests: 503 with Retry-After
    ready       the application
    draining    after SIGTERM: /health and new requests: 503; those that are under way are finished

A gateway in front of several servers sends requests to those whose /health is 200, and passes a request that
is answered with 503 on to the next one.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from inters_jax.serving.messages import refusal

LOADING, READY, DRAINING = "loading", "ready", "draining"
RETRY_SECONDS = {LOADING: 5, DRAINING: 1}

Asgi = Callable[..., Awaitable[None]]


class Front:
    """Stands before an application that is made later.

    app: the application; None while the model loads.
    draining: whether new requests are refused.
    """

    def __init__(self) -> None:
        self.app: FastAPI | None = None
        self.draining = False

    @property
    def state(self) -> str:
        """LOADING, READY or DRAINING."""
        return DRAINING if self.draining else LOADING if self.app is None else READY

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        state, health = self.state, scope.get("path") == "/health"
        asked = health or scope.get("method") == "POST"  # metrics and the page are read until the end
        if self.app is not None and not (self.draining and asked):
            await self.app(scope, receive, send)
            return
        what = {LOADING: "the model is being loaded", DRAINING: "the server is being shut down"}[state]
        headers = {"Retry-After": str(RETRY_SECONDS[state]), "Connection": "close"}
        body = {"status": state} if health else refusal(f"{what}; try again in a moment")
        await JSONResponse(body, 503, headers)(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        """The lifespan protocol of ASGI: the application ends with the server, if it was made."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self.app is not None:
            await asyncio.to_thread(self.app.state.close)
        await send({"type": "lifespan.shutdown.complete"})


class DrainingServer(uvicorn.Server):
    """Refuses new requests for some seconds after SIGTERM before it ends; SIGINT and a second signal end it.

    Args:
      config: of uvicorn, for `front`.
      front: the application.
      drain_seconds: in which a gateway notices that this server is about to end.
    """

    def __init__(self, config: uvicorn.Config, front: Front, drain_seconds: float) -> None:
        super().__init__(config)
        self._front, self._drain_seconds = front, drain_seconds
        self._ends_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and self._ends_at is None:
            self._captured_signals.append(sig)
            self.drain()
        else:
            super().handle_exit(sig, frame)

    def drain(self) -> None:
        """What SIGTERM does."""
        self._front.draining = True
        self._ends_at = time.monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        if self._ends_at is not None and time.monotonic() >= self._ends_at:
            self.should_exit = True
        return await super().on_tick(counter)
