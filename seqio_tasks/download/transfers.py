"""One file over HTTP(S): a ``.part`` file that grows, and the rules by which it may be continued.

Beside the part lies a note which version of the file it belongs to (address, ETag or date, length). A cut
transfer is continued by a Range request with If-Range, so that the rest comes from the same version; a server
without Range support is read from the start again. What could only be refused at the end (another length, a
web page instead of a file, too little room) is refused before the transfer.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tqdm import tqdm

from seqio_tasks.base import DataError
from seqio_tasks.catalog.files import OfficialFile

_BLOCK = 1 << 18
# Answers of a server that is busy or restarting, as opposed to one that says no.
BUSY = (408, 425, 429, 500, 502, 503, 504)
_RESERVE = 64 << 20  # bytes of disk space left free


class Temporary(Exception):
    """A failure that the next attempt may not meet; ``after``: seconds the server asked to wait."""

    def __init__(self, what: str, after: float = 0.0, answered: bool = True) -> None:
        super().__init__(what)
        self.after, self.answered = after, answered


def progress_bar(what: str, total: int | None, initial: int = 0, delay: float = 0.0) -> tqdm[Any]:
    """Bytes, rate and time left on standard error; silent where that is no terminal."""
    return tqdm(
        desc=what,
        total=total,
        initial=initial,
        delay=delay,
        unit="B",
        unit_scale=True,
        leave=False,
        disable=None,  # no bar where standard error is no terminal
    )


class Transfer:
    """One file on its way: a ``.part`` file and, beside it, what is known about the version it belongs to."""

    def __init__(
        self,
        file: OfficialFile,
        target: Path,
        part: Path,
        opener: urllib.request.OpenerDirector,
        timeout: float,
    ) -> None:
        self.file, self.target, self.part = file, target, part
        self.opener, self.timeout = opener, timeout
        self.state_path = part.with_name(f"{part.name}.json")
        self.continued = False

    def reached(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.forget_state()

    def forget_state(self) -> None:
        self.state_path.unlink(missing_ok=True)

    def _state(self) -> dict[str, Any]:
        """{"url", "validator", "total"} of the part; a part that belongs to something else is thrown away."""
        try:
            state: dict[str, Any] = json.loads(self.state_path.read_text("utf-8"))
            fits = state["url"] == self.file.url and {"validator", "total"} <= state.keys()
        except (OSError, ValueError, TypeError, KeyError):
            fits = False
        if not fits or (self.file.bytes and self.reached() > self.file.bytes):
            self.discard()
            return {}
        return state

    def attempt(self) -> Path:
        """One request: from the start, or from where the part ends."""
        state, offset = self._state(), self.reached()
        total = state.get("total") or self.file.bytes
        if offset and offset == total:
            self.continued = True
            return self.part
        headers = {"User-Agent": "inters-jax (seqio_tasks.download)", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if state["validator"]:
                headers["If-Range"] = state["validator"]
        try:
            response = self.opener.open(
                urllib.request.Request(self.file.url, headers=headers), timeout=self.timeout
            )
        except urllib.error.HTTPError as error:
            with error:
                return self._refused(error, offset)
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise DataError(
                    f"{self.file.url}: its certificate is not trusted ({error.reason.verify_message})",
                    path=self.target,
                    todo="check the clock and the certificates of this machine",
                ) from None
            raise Temporary(f"no connection ({error.reason})", answered=False) from None
        except (OSError, http.client.HTTPException) as error:
            raise Temporary(f"no connection ({_words(error)})", answered=False) from None
        with response:
            self._receive(response, offset, state)
        return self.part

    def _refused(self, error: urllib.error.HTTPError, offset: int) -> Path:
        """What to make of an answer other than 2xx."""
        if error.code == 416 and offset:
            if error.headers.get("Content-Range", "").strip() == f"bytes */{offset}":
                self.continued = True
                return self.part
            self.discard()
            raise Temporary("the server has another version of the file by now")
        answer = f"{self.file.url}: the server answers {error.code} {error.reason}"
        if error.code in BUSY:
            raise Temporary(answer.split(": ", 1)[1], _seconds(error.headers.get("Retry-After")))
        if error.code in (401, 403):
            todo = f"open the address in a browser, accept its terms and put the file at {self.target}"
        elif error.code in (404, 410):
            todo = f"look for the file at its publisher and put it at {self.target}"
        else:
            todo = f"try the address in a browser and put the file at {self.target}"
        raise DataError(answer, path=self.target, todo=todo)

    def _receive(self, response: Any, offset: int, state: dict[str, Any]) -> None:
        length = _number(response.headers.get("Content-Length"))
        if response.status == 206:
            match = re.fullmatch(
                r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
            )
            total = None if match is None else _number(match[2])
            if match is None or int(match[1]) != offset or (state.get("total") or total) != total:
                self.discard()
                raise Temporary("the server continued another version or at the wrong place")
            self.continued = True
        elif response.status == 200:
            offset, total = 0, length
        else:
            raise Temporary(f"the server answers {response.status} {response.reason}")
        self._check_offer(response, total, offset)
        if not offset:
            self._begin(response, total)
        self._write(response, offset, total, length)

    def _check_offer(self, response: Any, total: int | None, offset: int) -> None:
        """Refuse before the transfer what could only be refused after it."""
        if self.file.bytes and total is not None and total != self.file.bytes:
            self.discard()
            raise changed(f"the server offers {total:,} bytes, published are {self.file.bytes:,}",
                           self.file, self.target)  # fmt: skip
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity" and not self.file.name.endswith((".gz", ".tgz")):
            self.discard()
            raise DataError(
                f"{self.file.url}: the server insists on sending it as {encoding}",
                path=self.target,
                todo=f"fetch it with a browser and put the file at {self.target}",
            )
        kind = response.headers.get_content_type()
        if kind == "text/html" and not self.file.name.endswith((".html", ".htm")):
            self.discard()
            raise DataError(
                f"{self.file.url}: the server sent a web page instead of the file",
                path=self.target,
                todo=f"open the address in a browser and put the file at {self.target}",
            )
        free = shutil.disk_usage(self.part.parent).free
        if total is not None and total - offset > free - _RESERVE:
            raise DataError(
                f"{total - offset:,} bytes are to come, {free:,} are free on the disk",
                path=self.target,
                todo="make room or choose another --raw_dir",
            )

    def _begin(self, response: Any, total: int | None) -> None:
        """A fresh part, and the note which version of the file it is."""
        self.part.write_bytes(b"")
        tag = response.headers.get("ETag", "")
        # A weak tag does not promise equal bytes and must not be used in If-Range.
        validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
        state = {"url": self.file.url, "validator": validator, "total": total}
        self.state_path.write_text(json.dumps(state), "utf-8")

    def _write(self, response: Any, offset: int, total: int | None, length: int | None) -> None:
        came = 0
        with self.part.open("ab") as out, progress_bar(self.file.name, total, offset) as bar:
            while True:
                try:
                    block = response.read(_BLOCK)
                except http.client.IncompleteRead as error:
                    came += _append(out, error.partial)
                    raise Temporary(f"the connection was cut after {offset + came:,} bytes") from None
                except (OSError, http.client.HTTPException) as error:
                    raise Temporary(
                        f"the connection was cut after {offset + came:,} bytes ({_words(error)})"
                    ) from None
                if not block:
                    break
                came += _append(out, block)
                bar.update(len(block))
                if self.file.bytes and offset + came > self.file.bytes:
                    break
        if self.file.bytes and offset + came > self.file.bytes:
            self.discard()
            raise changed(f"the server sends more than the {self.file.bytes:,} published bytes", self.file,
                           self.target)  # fmt: skip
        if length is not None and came < length:
            raise Temporary(f"the connection was cut after {offset + came:,} of {offset + length:,} bytes")


class OnlyWeb(urllib.request.HTTPRedirectHandler):
    """Follows redirects to other web addresses, and to nothing else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise DataError(f"{req.full_url} redirects to {newurl!r}", todo="fetch the file by hand")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _append(out: IO[bytes], block: bytes) -> int:
    return out.write(block)


def changed(problem: str, file: OfficialFile, target: Path) -> DataError:
    return DataError(
        f"{file.url}: {problem}",
        path=target,
        todo="if the publisher changed it (look there), take it as it is with --accept_changed",
    )


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdigit() else None


def _seconds(text: str | None) -> float:
    """A Retry-After header in seconds: a number, or the time until a date; 0 when absent or unreadable.

    >>> _seconds("12"), _seconds(None), _seconds("soon")
    (12.0, 0.0, 0.0)
    """
    if (number := _number(text)) is not None:
        return float(number)
    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(text or "").timestamp() - time.time())
    return 0.0
