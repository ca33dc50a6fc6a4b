"""The HTTP server around the application: limits on slow, half-sent and too many connections.

Uvicorn waits for the rest of a request as long as its connection is open, even when the process is to end.
Here a connection must send its request in time, very small chunks are refused (reading them would hold up all
other clients), connections above a number are refused, and half-sent requests do not delay the end of the
process. The time limit of bodies is in the application: `app.BodyLimit`.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from inters_jax.serving.readiness import DrainingServer, Front

# Each piece of a body costs the same time, whatever its size.
FREE_PIECES, SMALLEST_PIECE = 1000, 256
HEADER_BYTES = 65_536


class BoundedConnection(h11.Connection):
    """Refuses a body in very small chunks."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._pieces = self._bytes = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            if self._pieces > FREE_PIECES and self._bytes < self._pieces * SMALLEST_PIECE:
                raise h11.RemoteProtocolError("the chunks of the body are too small")
        return event


class GuardedProtocol(H11Protocol):
    """One connection. The limits are set by `protocol`."""

    request_timeout: float
    max_connections: int

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.conn = BoundedConnection(h11.SERVER, HEADER_BYTES)
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: Any) -> None:
        self._refused = len(self.connections) >= self.max_connections
        super().connection_made(transport)
        if self._refused:
            self._end(503, "too many connections; try again in a moment")
        else:
            self._expect_header()

    def data_received(self, data: bytes) -> None:
        if self._refused or self.transport.is_closing():
            return
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._expect_header()
        else:  # the application waits for the body
            self._stop_waiting()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End a connection that has not sent its whole request; others may finish."""
        if self.cycle is not None and not self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()
        else:
            super().shutdown()

    def _expect_header(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.request_timeout, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._end(408, f"no request within {self.request_timeout:g} seconds")

    def _end(self, status: int, reason: str) -> None:
        """Answer outside the application and close; after an answer, only close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = f'{{"message": "{reason}", "detail": "{reason}"}}'.encode()
            head = (
                f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
                "content-type: application/json",
                f"content-length: {len(body)}",
                "connection: close",
            )
            self.transport.write("\r\n".join((*head, "", "")).encode() + body)
        self.transport.close()


def protocol(*, request_timeout: float, max_connections: int) -> type[GuardedProtocol]:
    """The protocol with these limits, as uvicorn's option `http`.

    Args:
      request_timeout: seconds in which the header of a request must arrive.
      max_connections: open connections; more are answered with 503.
    """
    limits = {"request_timeout": request_timeout, "max_connections": max_connections}
    return type("LimitedProtocol", (GuardedProtocol,), limits)


def make_server(
    app: Any,
    *,
    host: str,
    port: int,
    request_timeout: float = 30.0,
    max_connections: int = 512,
    shutdown_timeout: int = 30,
    drain_seconds: float = 0.0,
) -> uvicorn.Server:
    """The server of an application; `run` serves until SIGINT or SIGTERM.

    Args:
      app: from `make_app`, or a `Front`.
      host, port: to listen on.
      request_timeout, max_connections: see `protocol`.
      shutdown_timeout: seconds that running requests have to finish after the signal.
      drain_seconds: of a `Front`, after SIGTERM: see `DrainingServer`.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol(request_timeout=request_timeout, max_connections=max_connections),
        timeout_graceful_shutdown=shutdown_timeout,
        log_config=None,  # uvicorn's own would close every logging handler of this process
        log_level="warning",
        server_header=False,
    )
    return DrainingServer(config, app, drain_seconds) if isinstance(app, Front) else uvicorn.Server(config)
