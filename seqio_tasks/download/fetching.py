"""Fetch one official file: retries, resume, verification, and an atomic move into place.

An interrupted transfer leaves ``NAME.part`` and, beside it, ``NAME.part.json``: the URL, ETag or date, and
length of the version that the bytes belong to. It is resumed with Range and If-Range, so that both halves
come from one version; a server without Range support sends the file from the start. What could only be
refused at the end (a wrong length, a web page instead of a file, a full disk) is refused before the transfer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry

from seqio_tasks.base import DataError, write_text
from seqio_tasks.catalog.files import OfficialFile
from seqio_tasks.download import hub_files
from seqio_tasks.download.files import mismatch, progress_bar, put_in_place

# Status codes of a server that is busy or restarting, as opposed to one that refuses.
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 60.0
_RESERVE = 64 << 20  # bytes of disk space to leave free
# identity: a range of a compressed response would not be a range of the file.
_HEADERS = {"User-Agent": "inters-jax (seqio_tasks.download)", "Accept-Encoding": "identity"}
# What to do about a failure.
_CHANGED = "if the publisher changed it (look there), take it as it is with --accept_changed"
_BROWSER = "open the URL in a browser and put the file at {target}"
_TERMS = "open the URL in a browser, accept its terms and put the file at {target}"
_MISSING = "look for the file at its publisher and put it at {target}"
_BY_STATUS = {401: _TERMS, 403: _TERMS, 404: _MISSING, 410: _MISSING}


class _Interrupted(Exception):
    """A transfer that broke; another attempt may continue it."""


class _Retry(Retry):
    """Retry-After is followed up to a minute; one that cannot be read is ignored."""

    def parse_retry_after(self, retry_after: str) -> float:
        try:
            return min(super().parse_retry_after(retry_after), _LONGEST_WAIT)
        except InvalidHeader:
            return 0.0


class Fetcher:
    """Fetches files one after the other.

    The HTTP client retries what never got a response or got a busy one, with growing waits. A host that stays
    silent gets a single attempt per further file.

    Args:
      attempts: attempts without progress before a file is given up.
      timeout: seconds without a response, or without further data, before an attempt fails.
    """

    def __init__(self, attempts: int = 6, timeout: float = 30.0) -> None:
        self.attempts, self.timeout = attempts, timeout
        retry = _Retry(
            attempts - 1,
            status_forcelist=_BUSY,
            raise_on_status=False,
            backoff_factor=1,
            backoff_max=_LONGEST_WAIT,
            backoff_jitter=0.5,  # keeps machines that failed together from retrying together
        )
        self._session = requests.Session()
        self._session.headers.update(_HEADERS)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def fetch(self, file: OfficialFile, target: Path, work: Path) -> None:
        """Fetch `file` to `target`.

        Args:
          work: folder that keeps the unfinished part between runs.

        Raises:
          DataError: the file cannot be fetched, or is not the published one.
        """
        part = _Part(work / f"{file.name}.part", file, target)
        if uri := hub_files.parse(file.url):
            folder = work / f"{file.name}.hub"
            part.path = hub_files.fetch(uri, target, folder)
            if problem := mismatch(part.path, file):
                part.discard()
                raise part.error(problem, _CHANGED)
            put_in_place(part.path, target)
            shutil.rmtree(folder, ignore_errors=True)
            return
        part.path.parent.mkdir(parents=True, exist_ok=True)
        self._complete(part)
        if (problem := mismatch(part.path, file)) and part.resumed:
            # The halves may come from two versions: once more, from the start.
            part.discard()
            self._complete(part)
            problem = mismatch(part.path, file)
        if problem:
            part.discard()
            raise part.error(problem, _CHANGED)
        put_in_place(part.path, target)
        part.discard()

    def _complete(self, part: _Part) -> None:
        """Request the file, or the rest of it, until all of it is there."""
        failures, furthest = 0, part.size()
        while True:
            try:
                return self._attempt(part)
            except _Interrupted as error:
                failures = 1 if part.size() > furthest else failures + 1
                furthest = max(furthest, part.size())
                if failures >= self.attempts:
                    raise part.error(f"{error}, attempts without progress: {failures}") from None
                time.sleep(min(2.0 ** (failures - 1), _LONGEST_WAIT))

    def _attempt(self, part: _Part) -> None:
        """One request: from the start, or from where the part ends."""
        version, offset = part.version(), part.size()
        if offset and offset == (version["total"] or part.file.bytes):
            part.resumed = True
            return
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and version["validator"]:
            headers["If-Range"] = version["validator"]
        with self._get(part, headers) as response:
            code, content_range = response.status_code, response.headers.get("Content-Range", "").strip()
            if code in (206, 416) and offset:
                part.resumed = True
                if code == 416 and content_range == f"bytes */{offset}":
                    return
                following = code == 206 and content_range.startswith(f"bytes {offset}-")
            elif code == 200:
                offset, following = 0, True
            else:
                todo = "" if code in _BUSY else _BY_STATUS.get(code, _BROWSER)
                raise part.error(f"the server answers {code} {response.reason}", todo)
            length = response.raw.length_remaining
            total = None if length is None else offset + length
            if not following or (offset and version["total"] not in (None, total)):
                part.discard()
                raise _Interrupted("the server has another version of the file by now")
            part.check(response, total, offset)
            if not offset:
                part.begin(response, total)
            part.append(response, total)

    def _get(self, part: _Part, headers: dict[str, str]) -> requests.Response:
        url = part.file.url
        host = "{0.scheme}://{0.netloc}/".format(urlsplit(url))
        try:
            response = self._session.get(url, headers=headers, stream=True, timeout=self.timeout)
            self._session.adapters.pop(host, None)
            return response
        except (requests.ConnectionError, requests.Timeout) as error:
            self._session.mount(host, HTTPAdapter(max_retries=0))
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                todo = "check the clock of this machine, or name its certificates in REQUESTS_CA_BUNDLE"
                raise part.error(str(error), todo) from None
            raise part.error(f"no connection ({error})") from None
        except (requests.RequestException, ValueError) as error:  # such as a redirect to a file: URL
            what = f"cannot be fetched, or not from where it redirects ({error})"
            raise part.error(what, "put the file there by hand, or correct the URL") from None


@dataclasses.dataclass
class _Part:
    """The unfinished file, and a note of the version it belongs to.

    resumed: whether its bytes may come from more than one response.
    """

    path: Path
    file: OfficialFile
    target: Path
    resumed: bool = False

    @property
    def note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def version(self) -> dict[str, Any]:
        """{"url", "validator", "total"} as noted; a part that belongs to something else is discarded."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            noted: dict[str, Any] = json.loads(self.note.read_text("utf-8"))
            fits = noted["url"] == self.file.url and {"validator", "total"} <= noted.keys()
            if fits and not 0 < self.file.bytes < self.size():
                return noted
        self.discard()
        return {"url": self.file.url, "validator": "", "total": None}

    def begin(self, response: requests.Response, total: int | None) -> None:
        """Start over with the version that the response announces."""
        self.resumed = False
        self.path.write_bytes(b"")
        tag = response.headers.get("ETag", "")
        # A weak tag does not promise identical bytes and must not be used in If-Range.
        validator = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
        write_text(self.note, json.dumps({"url": self.file.url, "validator": validator, "total": total}))

    def append(self, response: requests.Response, total: int | None) -> None:
        """Append the body of the response."""
        size = self.size()
        with self.path.open("ab") as out, progress_bar(self.file.name, total, size) as bar:
            for block in _blocks(response):
                size += out.write(block)
                bar.update(len(block))
                if 0 < self.file.bytes < size:
                    self.discard()
                    more = f"the server sends more than the {self.file.bytes:,} published bytes"
                    raise self.error(more, _CHANGED)

    def check(self, response: requests.Response, total: int | None, offset: int) -> None:
        """Refuse before the transfer what could only be refused after it."""
        name, published = self.file.name, self.file.bytes
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        html = response.headers.get("Content-Type", "").strip().lower().startswith("text/html")
        problem, todo = "", _BROWSER
        if published and total is not None and total != published:
            problem, todo = f"the server offers {total:,} bytes, published are {published:,}", _CHANGED
        elif encoding != "identity" and not name.endswith((".gz", ".tgz")):
            problem = f"the server insists on sending it as {encoding}"
        elif html and not name.endswith((".html", ".htm")):
            problem = "the server sent a web page instead of the file"
        if problem:
            self.discard()
            raise self.error(problem, todo)
        needed, free = (total or 0) - offset, shutil.disk_usage(self.path.parent).free
        if needed > free - _RESERVE:
            what = f"{needed:,} bytes are to be downloaded, {free:,} are free on the disk"
            raise self.error(what, "free some space or choose another --raw_dir")

    def error(self, problem: str, todo: str = "") -> DataError:
        """The error to raise; without `todo` it is one that a later run may not meet."""
        kept = f" (it resumes at byte {self.size():,})" if self.size() else ""
        todo = todo or f"run the same command again later{kept}"
        todo = todo.format(target=self.target)
        return DataError(f"{self.file.url}: {problem}", path=self.target, todo=todo)


def _blocks(response: requests.Response) -> Iterator[bytes]:
    """The body as it was sent: no Content-Encoding is undone, and a broken connection loses no byte."""
    try:
        while block := response.raw.read1(1 << 18, decode_content=False):
            yield block
    except (HTTPError, OSError) as error:
        raise _Interrupted(f"the connection broke ({error})") from None
