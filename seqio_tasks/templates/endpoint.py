"""A text model behind an OpenAI-compatible endpoint, called with nothing but the standard library.

The key comes from an environment variable and goes into one header: it is in no message, no file and no repr,
and since redirects are refused it reaches no other host. Answers are bounded in time and size; 429 and server
errors are tried again, later each time or when the server says.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_LONGEST_WAIT = 60.0
_PIECE = 65_536


class EndpointError(RuntimeError):
    """The endpoint gave no answer; the message says why and never holds the key."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None  # then the 3xx itself is raised


@dataclass(frozen=True)
class Endpoint:
    """`Endpoint("http://localhost:8000/v1", "name")(prompt)` is the answer as text.

    url: up to /v1, or the whole address of chat/completions; key_env: name of the variable with the key;
    timeout: seconds for one answer as a whole; retries: further tries; wait: seconds before the first one,
    doubled each time; max_bytes: of an answer.
    """

    url: str
    model: str
    key_env: str = ""
    timeout: float = 120.0
    retries: int = 4
    wait: float = 1.0
    max_bytes: int = 1_000_000
    temperature: float = 0.8
    max_tokens: int = 4096
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EndpointError("the endpoint must be an address that begins with http:// or https://")
        if parts.username or parts.password:
            raise EndpointError("no user or password in the address; put the key into a variable (--key_env)")
        if self.key_env and not os.environ.get(self.key_env, "").strip():
            raise EndpointError(f"the environment variable {self.key_env} is not set or empty")

    @property
    def address(self) -> str:
        """Where requests go."""
        plain = self.url.rstrip("/")
        return plain if plain.endswith("/chat/completions") else f"{plain}/chat/completions"

    def __call__(self, prompt: str) -> str:
        """The answer to one message."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        wait = self.wait
        for attempt in range(self.retries + 1):
            try:
                return self._text_of(self._post(json.dumps(body).encode()))
            except _TryAgainError as problem:
                if attempt == self.retries:
                    raise EndpointError(f"{self.address}: {problem} ({attempt + 1} tries)") from None
                self.sleep(min(_LONGEST_WAIT, problem.after if problem.after is not None else wait))
                wait *= 2
        raise AssertionError("the last try returns or raises")

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key_env:
            headers["Authorization"] = f"Bearer {os.environ[self.key_env].strip()}"
        request = urllib.request.Request(self.address, body, headers, method="POST")
        end = time.monotonic() + self.timeout
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout) as answer:
                return self._read(answer, end)
        except urllib.error.HTTPError as error:
            told = self._without_key(f"status {error.code} {str(error.reason)[:100]}")
            after = _seconds(error.headers.get("Retry-After"))
            error.close()
            if error.code in _AGAIN:
                raise _TryAgainError(told, after) from None
            hint = {401: "; is the key right?", 403: "; is the key right?", 404: "; is the address right?"}
            raise EndpointError(f"{self.address}: {told}{hint.get(error.code, '')}") from None
        except TimeoutError:
            raise _TryAgainError(f"no answer within {self.timeout:g} s") from None
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _TryAgainError(f"no answer within {self.timeout:g} s") from None
            raise _TryAgainError(f"no connection ({type(reason).__name__})") from None

    def _read(self, answer: Any, end: float) -> bytes:
        """The body, piece by piece: a server that drips is no more patiently waited for than a silent one."""
        pieces, size = [], 0
        while piece := answer.read1(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > self.max_bytes:
                raise EndpointError(f"{self.address}: the answer has more than {self.max_bytes:,} bytes")
            if time.monotonic() > end:
                raise TimeoutError
        return b"".join(pieces)

    def _text_of(self, body: bytes) -> str:
        try:
            content = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            content = None
        if not isinstance(content, str):
            said = self._without_key(body.decode("utf-8", "replace"))[:200]
            raise EndpointError(f"{self.address}: not the answer of a chat completion: {said!r}")
        return content

    def _without_key(self, text: str) -> str:
        """What a server says, in case that it repeats the key."""
        key = os.environ.get(self.key_env, "").strip() if self.key_env else ""
        return text.replace(key, "***") if key else text


class _TryAgainError(Exception):
    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


def _seconds(header: str | None) -> float | None:
    """Retry-After in seconds; a date, or nonsense, is not followed.

    >>> _seconds("2"), _seconds("-1"), _seconds("Wed, 21 Oct"), _seconds(None)
    (2.0, None, None, None)
    """
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
