"""The download from a misbehaving web site on 127.0.0.1; no other host is ever reached."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from seqio_tasks import settings
from seqio_tasks.base import DataError, locked
from seqio_tasks.catalog.files import SOURCES, OfficialFile, Source
from seqio_tasks.download import command as download
from seqio_tasks.download import report
from seqio_tasks.download.command import find_sources
from seqio_tasks.download.downloader import Downloader, Options
from seqio_tasks.download.fetching import Fetcher
from seqio_tasks.sources import beir, trec_topics

TEXT = b"".join(b"%d\tquery number %d\n" % (i, i * i) for i in range(40_000))  # 1 MB, several blocks


Answer = Callable[["Handler", bytes], None]


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on purpose here."""


class Site:
    """Serves ``files`` with Range, ETag and length, but ``faults[path]`` answers first, used up in order."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, str, str]] = []  # (method, path, Range header or "")
        self.server = QuietServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": self}))
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def put(self, path: str, content: bytes, *faults: Answer) -> str:
        self.files[path] = content
        self.faults[path] = list(faults)
        return self.address + path

    def ranges(self, path: str) -> list[str]:
        return [asked for _, requested, asked in self.requests if requested == path]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.site.requests.append((self.command, path, self.headers.get("Range", "")))
        content = self.site.files.get(path)
        if content is None:
            self.send(404, {}, b"no such file")
            return
        faults = self.site.faults.get(path, [])
        (faults.pop(0) if faults else whole)(self, content)

    do_HEAD = do_GET

    def send(self, code: int, headers: dict[str, str], body: bytes, length: int | None = None) -> None:
        """A response; a ``length`` beyond that of the body is a broken connection."""
        self.send_response(code)
        for name, value in {
            "Content-Length": str(len(body) if length is None else length),
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if length is not None and length != len(body):
            self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


def tag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def asked_from(handler: Handler, content: bytes) -> int:
    """The requested offset; 0 for the whole file, also when If-Range names another version."""
    wanted = handler.headers.get("Range", "")
    if not wanted or handler.headers.get("If-Range", tag(content)) != tag(content):
        return 0
    return int(wanted.removeprefix("bytes=").removesuffix("-"))


def whole(handler: Handler, content: bytes, upto: int | None = None) -> None:
    """The response of a good server; with ``upto`` the connection breaks after that byte of the file."""
    start, end = asked_from(handler, content), len(content) if upto is None else upto
    headers = {"ETag": tag(content)}
    if start >= len(content) > 0:
        handler.send(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
    elif start:
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.send(206, headers, content[start:end], len(content) - start)
    else:
        handler.send(200, headers, content[:end], len(content))


def cut(upto: int) -> Answer:
    return lambda handler, content: whole(handler, content, upto)


def without_ranges(upto: int | None = None) -> Answer:
    """Always from the start, without ETag."""
    return lambda handler, content: handler.send(200, {}, content[:upto], len(content))


def says(code: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, content: handler.send(code, named, b"")


def web_page(handler: Handler, content: bytes) -> None:
    handler.send(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Please accept</html>")


def gzip_labelled(handler: Handler, content: bytes) -> None:
    handler.send(200, {"Content-Encoding": "x-gzip", "Content-Type": "text/plain"}, content)


def as_if(content: bytes, upto: int) -> Answer:
    """Another file of the same length; the connection breaks."""
    return lambda handler, _: whole(handler, content, upto)


def chunked_and_cut(handler: Handler, content: bytes) -> None:
    """A transfer of unknown length that breaks inside a chunk."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n" % len(content) + content[: len(content) // 2])
    handler.close_connection = True


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1", f"a test tries to reach {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


class Run:
    """Downloads of a source of its own; ``waits`` are the back-offs, which are not slept."""

    def __init__(self, raw_dir: Path) -> None:
        self.raw_dir, self.waits = raw_dir, list[float]()

    def __call__(
        self, *files: OfficialFile, attempts: int = 4, timeout: float = 5.0, **options: bool
    ) -> list[report.Outcome]:
        fetcher = Fetcher(attempts, timeout)
        return list(Downloader(self.raw_dir, Options(**options), fetcher).source(Source("set", "CC0", files)))

    def one(self, file: OfficialFile, **options: Any) -> report.Outcome:
        (outcome,) = self(file, **options)
        return outcome

    @property
    def folder(self) -> Path:
        return self.raw_dir / "set"

    def left(self) -> list[str]:
        """The files in the work folder."""
        work = self.raw_dir / ".download" / "set"
        return sorted(str(p.relative_to(work)) for p in work.rglob("*") if p.is_file() and p.name != ".lock")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    run = Run(tmp_path / "raw")
    monkeypatch.setattr("time.sleep", run.waits.append)
    return run


def official(url: str, content: bytes = TEXT, name: str = "queries.tsv", **changes: Any) -> OfficialFile:
    known = {"bytes": len(content), "md5": hashlib.md5(content).hexdigest()} | changes
    return OfficialFile(name, url, **known)


def packed_files(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def packed(**members: bytes) -> bytes:
    """A zip; in its members' names __ stands for a slash and _ for a dot."""
    return packed_files({name.replace("__", "/").replace("_", "."): data for name, data in members.items()})


def test_a_file_is_fetched_once_and_then_present(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT))
    assert run.one(file).status == "fetched"
    assert (run.folder / "queries.tsv").read_bytes() == TEXT
    assert run.left() == []
    assert run.one(file).status == "present"
    assert len(site.requests) == 1


def test_a_broken_connection_is_resumed_where_it_broke(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT, cut(300_000), cut(700_000)))
    assert run.one(file).status == "fetched"
    assert (run.folder / "queries.tsv").read_bytes() == TEXT
    assert site.ranges("/q") == ["", "bytes=300000-", "bytes=700000-"]


def test_a_later_run_resumes_an_interrupted_one(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT, cut(500_000), says(503)))
    outcome = run.one(file, attempts=1)
    assert outcome.status == "failed" and "500,000" in outcome.message and "again" in outcome.message
    assert not (run.folder / "queries.tsv").exists()
    assert run.left() == ["queries.tsv.part", "queries.tsv.part.json"]
    site.faults["/q"].clear()
    assert run.one(file).status == "fetched"
    assert (run.folder / "queries.tsv").read_bytes() == TEXT
    assert site.ranges("/q") == ["", "bytes=500000-"]


def test_progress_renews_the_attempts(site: Site, run: Run) -> None:
    cuts = [cut(upto) for upto in range(100_000, 900_001, 100_000)]
    assert run.one(official(site.put("/q", TEXT, *cuts)), attempts=2).status == "fetched"


def test_a_server_without_ranges_is_read_from_the_start(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT, without_ranges(400_000), without_ranges()))
    assert run.one(file).status == "fetched"
    assert (run.folder / "queries.tsv").read_bytes() == TEXT
    assert site.ranges("/q") == ["", "bytes=400000-"]


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT, *[without_ranges(400_000)] * 20))
    outcome = run.one(file, attempts=3)
    assert outcome.status == "failed" and "connection broke" in outcome.message
    assert "resumes at byte 400,000" in outcome.message and run.waits == [1, 2]
    assert len(site.requests) == 3


def test_the_rest_of_another_version_is_not_appended(site: Site, run: Run) -> None:
    older = TEXT.replace(b"query", b"QUERY")
    file = official(site.put("/q", TEXT, as_if(older, 300_000)))
    assert run.one(file).status == "fetched"
    assert (run.folder / "queries.tsv").read_bytes() == TEXT
    assert site.ranges("/q") == ["", "bytes=300000-"]  # If-Range made the server send the whole file


def test_without_version_marks_the_checksum_finds_mixed_versions(site: Site, run: Run) -> None:
    older = TEXT.replace(b"query", b"QUERY")

    def untagged(content: bytes, upto: int | None = None) -> Answer:
        def answer(handler: Handler, _: bytes) -> None:
            start = asked_from(handler, content)
            headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
            handler.send(206 if start else 200, headers, content[start:upto], len(content) - start)

        return answer

    file = official(site.put("/q", TEXT, untagged(older, 300_000), untagged(TEXT)))
    assert run.one(file).status == "fetched"
    assert (run.folder / "queries.tsv").read_bytes() == TEXT
    assert site.ranges("/q") == ["", "bytes=300000-", ""]


def test_a_broken_transfer_of_unknown_length_is_noticed(site: Site, run: Run) -> None:
    assert run.one(official(site.put("/q", TEXT, chunked_and_cut))).status == "fetched"
    assert (run.folder / "queries.tsv").read_bytes() == TEXT


def test_a_stalled_transfer_is_resumed(site: Site, run: Run) -> None:
    stop = threading.Event()

    def stalled(handler: Handler, content: bytes) -> None:
        whole(handler, content, 300_000)
        handler.wfile.flush()
        stop.wait(5)

    assert run.one(official(site.put("/q", TEXT, stalled)), timeout=0.3).status == "fetched"
    stop.set()
    assert site.ranges("/q") == ["", "bytes=300000-"]


def test_a_proxy_of_the_environment_is_used(site: Site, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.address)
    site.put("http://publisher.invalid/q", TEXT)
    assert run.one(official("http://publisher.invalid/q")).status == "fetched"


def test_a_complete_part_needs_no_request_but_the_check(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT, cut(500_000), says(503)))
    run.one(file, attempts=1)
    (run.raw_dir / ".download/set/queries.tsv.part").write_bytes(TEXT)
    assert run.one(file).status == "fetched"
    assert len(site.requests) == 1


def test_a_part_that_is_too_long_is_thrown_away(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT, cut(500_000)), bytes=0)
    run.one(file, attempts=1)
    (run.raw_dir / ".download/set/queries.tsv.part").write_bytes(TEXT + b"more")
    assert run.one(file).status == "fetched"
    assert site.ranges("/q") == ["", f"bytes={len(TEXT) + 4}-", ""]


def test_a_busy_server_is_retried(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT, says(503), says(429, Retry_After="7"), says(500)))
    assert run.one(file).status == "fetched"
    # At once, then as long as the server asks, then longer each time.
    assert run.waits == [7, pytest.approx(4.25, abs=0.26)]


def test_a_retry_after_of_hours_does_not_stop_the_program(site: Site, run: Run) -> None:
    run.one(official(site.put("/q", TEXT, says(503, Retry_After="86400"))))
    assert run.waits == [60]


@pytest.mark.parametrize("after", ["soon", "", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_retry_after_that_is_unreadable_or_past_is_ignored(site: Site, run: Run, after: str) -> None:
    outcome = run.one(official(site.put("/q", TEXT, *[says(503, Retry_After=after)] * 2)))
    assert outcome.status == "fetched" and run.waits == [pytest.approx(2.25, abs=0.26)]


def test_a_server_that_stays_busy_is_given_up(site: Site, run: Run) -> None:
    outcome = run.one(official(site.put("/q", TEXT, *[says(503)] * 9)), attempts=3)
    assert outcome.status == "failed" and "503" in outcome.message and "again later" in outcome.message
    assert len(site.requests) == 3


def test_a_missing_file_fails_at_once(site: Site, run: Run) -> None:
    outcome = run.one(official(f"{site.address}/gone"))
    assert outcome.status == "failed"
    assert "404" in outcome.message and "put it at" in outcome.message
    assert len(site.requests) == 1 and run.waits == []


def test_a_forbidden_file_names_the_browser(site: Site, run: Run) -> None:
    outcome = run.one(official(site.put("/q", TEXT, says(403))))
    assert (
        outcome.status == "failed" and "browser" in outcome.message and "accept its terms" in outcome.message
    )


def test_one_failure_does_not_stop_the_others(site: Site, run: Run) -> None:
    bad, good = official(f"{site.address}/gone", name="a.tsv"), official(site.put("/q", TEXT), name="b.tsv")
    assert [outcome.status for outcome in run(bad, good)] == ["failed", "fetched"]


def test_a_wrong_checksum_is_refused(site: Site, run: Run) -> None:
    outcome = run.one(official(site.put("/q", TEXT), md5="0" * 32))
    assert outcome.status == "failed" and "md5" in outcome.message and "0" * 32 in outcome.message
    assert not (run.folder / "queries.tsv").exists() and run.left() == []
    assert len(site.requests) == 1


def test_sha256_counts_as_well(site: Site, run: Run) -> None:
    right = hashlib.sha256(TEXT).hexdigest()
    assert run.one(official(site.put("/q", TEXT), md5="", sha256=right.upper())).status == "fetched"
    assert run.one(official(site.put("/r", TEXT), name="r", md5="", sha256="1" * 64)).status == "failed"


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_wrong_size_is_refused_before_the_transfer(site: Site, run: Run, difference: int) -> None:
    outcome = run.one(official(site.put("/q", TEXT), bytes=len(TEXT) + difference, md5=""))
    assert outcome.status == "failed" and f"offers {len(TEXT):,} bytes" in outcome.message
    assert run.left() == []


def test_more_bytes_than_published_are_not_taken(site: Site, run: Run) -> None:
    def endless(handler: Handler, content: bytes) -> None:
        handler.protocol_version = "HTTP/1.0"
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(content * 3)
        handler.close_connection = True

    outcome = run.one(official(site.put("/q", TEXT, endless), md5=""))
    assert outcome.status == "failed" and "more than" in outcome.message


def test_accept_changed_takes_the_file_as_it_is(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT), bytes=5, md5="0" * 32)
    assert run.one(file, accept_changed=True).status == "fetched"
    assert run.one(file).status == "failed"
    assert run.one(file, accept_changed=True).status == "present"


def test_a_web_page_is_not_mistaken_for_the_file(site: Site, run: Run) -> None:
    outcome = run.one(OfficialFile("queries.tsv", site.put("/q", TEXT, web_page)))
    assert outcome.status == "failed" and "web page" in outcome.message
    assert not (run.folder / "queries.tsv").exists()


def test_a_file_compressed_on_the_way_is_not_mistaken_for_the_file(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT, says(200, Content_Encoding="gzip")), bytes=0, md5="")
    outcome = run.one(file)
    assert outcome.status == "failed" and "gzip" in outcome.message
    packed_topics = gzip.compress(TEXT)
    file = official(site.put("/g", packed_topics, gzip_labelled), packed_topics, "topics.gz")
    assert run.one(file).status == "fetched"  # here it is the file itself that the server labels


def test_a_redirect_to_a_local_file_is_not_followed(site: Site, run: Run) -> None:
    outcome = run.one(official(site.put("/q", TEXT, says(302, Location="file:///etc/hostname"))))
    assert outcome.status == "failed" and "redirect" in outcome.message.lower()


def test_redirects_between_web_addresses_are_followed(site: Site, run: Run) -> None:
    there = site.put("/there", TEXT)
    assert run.one(official(site.put("/q", TEXT, says(302, Location=there)))).status == "fetched"


def test_a_host_that_never_answers_gets_one_attempt_per_further_file(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    files = [OfficialFile(f"{i}.tsv", f"http://127.0.0.1:{port}/{i}") for i in range(3)]
    outcomes = run(*files, attempts=4)
    assert [outcome.status for outcome in outcomes] == ["failed"] * 3
    assert all("no connection" in outcome.message for outcome in outcomes)
    assert len(run.waits) == 2  # after the second and the third attempt for the first file


def test_a_host_that_answers_again_gets_all_attempts_again(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, refusals = socket.socket.connect, iter([True] * 4 + [False] * 9)

    def sometimes(self: socket.socket, address: Any) -> None:
        if next(refusals):
            raise ConnectionRefusedError
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", sometimes)
    files = [official(site.put(f"/{i}", TEXT), name=str(i)) for i in range(3)]
    site.faults["/2"] = [says(503)] * 3
    assert [outcome.status for outcome in run(*files)] == ["failed", "fetched", "fetched"]


def test_too_little_disk_space_is_reported_before_the_transfer(
    site: Site, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("seqio_tasks.download.fetching.shutil.disk_usage", lambda path: usage)
    outcome = run.one(official(site.put("/q", TEXT)))
    assert outcome.status == "failed" and "free" in outcome.message


def test_a_file_of_the_user_is_not_overwritten(site: Site, run: Run) -> None:
    run.folder.mkdir(parents=True)
    (run.folder / "queries.tsv").write_text("my own")
    file = official(site.put("/q", TEXT))
    outcome = run.one(file)
    assert outcome.status == "failed" and "--replace" in outcome.message
    assert (run.folder / "queries.tsv").read_text() == "my own" and site.requests == []
    assert run.one(file, replace=True).status == "fetched"
    assert (run.folder / "queries.tsv").read_bytes() == TEXT


def test_two_downloads_do_not_work_on_one_folder(site: Site, run: Run) -> None:
    file = official(site.put("/q", TEXT))
    with locked(run.raw_dir / ".download" / "set" / ".lock"):
        outcome = run.one(file)
    assert outcome.status == "failed" and "another download" in outcome.message


def test_an_unknown_kind_of_address_fails(run: Run) -> None:
    outcome = run.one(OfficialFile("x", "ftp://127.0.0.1/x"))
    assert outcome.status == "failed" and "ftp://127.0.0.1/x: cannot be fetched" in outcome.message


def test_a_catalog_name_that_leaves_the_folder_is_refused(site: Site, run: Run) -> None:
    outcome = run.one(official(site.put("/q", TEXT), name="../other/queries.tsv"))
    assert outcome.status == "failed" and "outside" in outcome.message
    assert not (run.raw_dir / "other").exists()


def test_an_archive_is_unpacked_next_to_it_and_only_what_is_needed(site: Site, run: Run) -> None:
    content = packed(nf__corpus_jsonl=b"{}", nf__qrels__test_tsv=b"a\tb", nf__notes_pdf=b"%PDF")
    file = official(site.put("/z", content), content, "nf.zip", members=("corpus.jsonl", "qrels/*.tsv"))
    outcome = run.one(file)
    assert outcome.status == "fetched" and "2 files unpacked" in outcome.detail
    assert (run.folder / "nf/corpus.jsonl").read_bytes() == b"{}"
    assert (run.folder / "nf/qrels/test.tsv").exists() and not (run.folder / "nf/notes.pdf").exists()
    assert (run.folder / "nf.zip").exists()
    assert run.one(file).status == "present"
    assert len(site.requests) == 1


def test_a_lost_member_is_unpacked_again_without_fetching(site: Site, run: Run) -> None:
    content = packed(a_tsv=b"one", b_tsv=b"two")
    file = official(site.put("/z", content), content, "set.zip")
    run.one(file)
    (run.folder / "a.tsv").unlink()
    assert run.one(file).status == "present"
    assert (run.folder / "a.tsv").read_bytes() == b"one" and len(site.requests) == 1


def test_archives_may_be_deleted(site: Site, run: Run) -> None:
    content = packed(a_tsv=b"one")
    file = official(site.put("/z", content), content, "set.zip")
    run.one(file, delete_archives=True)
    assert sorted(path.name for path in run.folder.iterdir()) == ["a.tsv"]
    assert run.one(file).status == "present" and len(site.requests) == 1


def test_gz_gives_way_to_its_content(site: Site, run: Run) -> None:
    content = gzip.compress(TEXT)
    file = official(site.put("/g", content), content, "topics.tsv.gz")
    assert run.one(file).status == "fetched"
    assert [path.name for path in run.folder.iterdir()] == ["topics.tsv"]
    assert (run.folder / "topics.tsv").read_bytes() == TEXT
    assert run.one(file).status == "present" and len(site.requests) == 1


def test_an_archive_may_be_kept_packed(site: Site, run: Run) -> None:
    content = gzip.compress(TEXT)
    run.one(official(site.put("/g", content), content, "topics.tsv.gz", unpack=False))
    assert [path.name for path in run.folder.iterdir()] == ["topics.tsv.gz"]


def test_a_broken_archive_fails_and_leaves_nothing_unpacked(site: Site, run: Run) -> None:
    content = gzip.compress(TEXT)[:-500]
    outcome = run.one(official(site.put("/g", content), content, "topics.tsv.gz"))
    assert outcome.status == "failed" and "cannot be unpacked" in outcome.message
    assert not (run.folder / "topics.tsv").exists() and run.left() == []


def test_members_unpacked_by_hand_are_recognised(site: Site, run: Run) -> None:
    (run.folder / "inner").mkdir(parents=True)
    (run.folder / "inner" / "a.tsv").write_text("one")
    file = official(site.put("/z", b"zip"), b"zip", "set.zip", members=("a.tsv",))
    assert run.one(file).status == "present" and site.requests == []


def test_bookkeeping_stays_out_of_the_folders_that_readers_search(site: Site, run: Run) -> None:
    content = packed(a_tsv=b"one")
    run(official(site.put("/z", content), content, "topics.zip"), official(site.put("/q", TEXT)))
    assert sorted(path.name for path in run.folder.rglob("*")) == ["a.tsv", "queries.tsv", "topics.zip"]


def test_readers_find_what_was_unpacked(site: Site, run: Run) -> None:
    """The BEIR and Robust files of the packaged collection, packed as their publishers do."""
    sample = Path(settings.Settings().raw_dir)
    beir_files = {
        f"scifact/{name}": (sample / "beir_scifact" / name).read_bytes()
        for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/test.tsv")
    }
    topics = (sample / "trec_robust04" / "topics.robust04.txt").read_bytes()
    contents = {"beir_scifact": packed_files(beir_files), "trec_robust": gzip.compress(topics)}
    for key, content in contents.items():
        (file, *_), source = SOURCES[key].files, SOURCES[key]
        url, md5 = site.put(f"/{key}", content), hashlib.md5(content).hexdigest()
        file = dataclasses.replace(file, url=url, bytes=len(content), md5=md5)
        (outcome,) = Downloader(run.raw_dir).source(dataclasses.replace(source, files=(file,)))
        assert outcome.status == "fetched", outcome.message
    there = beir.read_corpus(beir.beir_folder(run.raw_dir, "scifact"))
    assert there == beir.read_corpus(sample / "beir_scifact")
    assert [
        topic.number for topic in trec_topics.read_sgml(run.raw_dir / "trec_robust04" / "04.testset")
    ] == [topic.number for topic in trec_topics.read_sgml(sample / "trec_robust04" / "topics.robust04.txt")]


def test_nothing_is_written_where_everything_is_present(site: Site, run: Run) -> None:
    run.folder.mkdir(parents=True)
    (run.folder / "queries.tsv").write_bytes(TEXT)
    assert run.one(official(f"{site.address}/q")).status == "present"
    assert [path.name for path in run.raw_dir.iterdir()] == ["set"]


def test_manual_files_say_what_to_do_and_where_to_put_them(run: Run) -> None:
    file = OfficialFile("data.zip", "https://example.org/form", manual="fill in the form")
    outcome = run.one(file)
    assert outcome.status == "manual" and outcome.message.startswith("fill in the form; put it at")
    assert str(run.folder / "data.zip") in outcome.message
    run.folder.mkdir(parents=True)
    (run.folder / "data.zip").write_bytes(packed(a_tsv=b"one"))
    assert run.one(file).status == "present"
    assert (run.folder / "a.tsv").read_bytes() == b"one"


def test_google_drive_and_7z_are_manual(run: Run) -> None:
    file = OfficialFile("data.7z", "https://drive.google.com/file/d/1", members=("train.json",))
    outcome = run.one(file)
    assert outcome.status == "manual" and "browser" in outcome.message and "7z x" in outcome.message
    run.folder.mkdir(parents=True)
    (run.folder / "data.7z").write_bytes(b"7z")
    outcome = run.one(file)
    assert outcome.status == "manual" and outcome.detail == "to be unpacked"
    (run.folder / "data").mkdir()
    (run.folder / "data" / "train.json").write_text("{}")
    assert run.one(file).status == "present"


@pytest.fixture
def hub(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Site:
    monkeypatch.setenv("HF_ENDPOINT", site.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return site


def of_hub(handler: Handler, content: bytes) -> None:
    handler.send(200, {"ETag": tag(content), "X-Repo-Commit": "c" * 40}, content)


HUB_PATH = "/datasets/someone/queries/resolve/v2/data/x.jsonl"


def test_hub_files_come_through_the_hub_library(hub: Site, run: Run) -> None:
    hub.put(HUB_PATH, TEXT, *[of_hub] * 4)
    file = official("hf://datasets/someone/queries@v2/data/x.jsonl", name="x.jsonl")
    outcome = run.one(file)
    assert outcome.status == "fetched", outcome.message
    assert (run.folder / "x.jsonl").read_bytes() == TEXT
    assert run.left() == []
    assert run.one(file).status == "present"


def test_hub_files_are_checked_as_well(hub: Site, run: Run) -> None:
    hub.put(HUB_PATH, TEXT, *[of_hub] * 4)
    file = official("hf://datasets/someone/queries@v2/data/x.jsonl", name="x.jsonl", md5="0" * 32)
    outcome = run.one(file)
    assert outcome.status == "failed" and "md5" in outcome.message
    assert not (run.folder / "x.jsonl").exists()


def test_an_interrupted_hub_file_is_requested_again(hub: Site, run: Run) -> None:
    hub.put(HUB_PATH, TEXT, of_hub, cut(300_000), whole)
    outcome = run.one(official("hf://datasets/someone/queries@v2/data/x.jsonl", name="x.jsonl"))
    assert outcome.status == "fetched", outcome.message
    assert (run.folder / "x.jsonl").read_bytes() == TEXT
    assert [method for method, _, _ in hub.requests] == ["HEAD", "GET", "GET"]


def test_a_busy_hub_is_for_later(hub: Site, run: Run) -> None:
    hub.put(HUB_PATH, TEXT, *[says(503)] * 99)
    outcome = run.one(official("hf://datasets/someone/queries@v2/data/x.jsonl", name="x.jsonl"))
    assert outcome.status == "failed" and "again later" in outcome.message and run.waits


def test_gated_repositories_are_manual(hub: Site, run: Run) -> None:
    hub.put(HUB_PATH, TEXT, *[says(403, X_Error_Code="GatedRepo")] * 4)
    outcome = run.one(official("hf://datasets/someone/queries@v2/data/x.jsonl", name="x.jsonl"))
    assert outcome.status == "manual"
    assert "https://huggingface.co/datasets/someone/queries" in outcome.message
    assert "hf auth login" in outcome.message


def test_a_missing_hub_file_fails_at_once(hub: Site, run: Run) -> None:
    hub.put(HUB_PATH, TEXT, *[says(404, X_Error_Code="EntryNotFound")] * 4)
    outcome = run.one(official("hf://datasets/someone/queries@v2/data/x.jsonl", name="x.jsonl"))
    assert outcome.status == "failed" and run.waits == []
    assert "cannot fetch 'data/x.jsonl' of dataset someone/queries" in outcome.message
    assert "Entry Not Found" in outcome.message and "look for the file at" in outcome.message


def test_names_mean_datasets_folders_pairs_tasks_and_groups() -> None:
    def folders(*names: str) -> list[str]:
        return [source.folder for source in find_sources(names)]

    assert folders("squad") == folders("squad_v1") == ["squad_v1"]
    assert folders("inters_fact_retrieval_scifact") == ["beir_scifact"]
    assert folders("scifact") == ["scifact"]
    assert {"gov2", "trec_robust04", "trec_covid", "fire"} <= set(folders("query_description"))
    assert set(folders("all")) == {source.folder for source in SOURCES.values()}
    with pytest.raises(DataError, match="did you mean squad"):
        find_sources(["squat"])


def test_the_command_prints_a_table_and_fails_when_a_file_did(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (
        official(site.put("/q", TEXT)),
        official(f"{site.address}/gone", name="gone.tsv"),
        OfficialFile("form.zip", "", manual="write to the publisher"),
    )
    table = {"invented": Source("invented", "CC0", files)}
    monkeypatch.setattr(download, "SOURCES", table)
    monkeypatch.setattr(report, "SOURCES", table)
    command = ["invented", "--raw_dir", str(tmp_path)]
    assert download.main(command) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["invented/queries.tsv", "fetched"],
        ["invented/gone.tsv", "failed"],
        ["invented/form.zip", "manual"],
    ]
    assert lines[-1] == "0 present, 1 fetched, 1 failed, 1 manual"
    site.put("/gone", TEXT)
    assert download.main(command) == 0
    assert capsys.readouterr().out.endswith("1 present, 1 fetched, 0 failed, 1 manual\n")
    assert download.main(["--list"]) == 0
    assert "invented/gone.tsv" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], ["squat", "--raw_dir", "raw"], ["squad"]])
def test_wrong_calls_fetch_nothing(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """No name; an unknown name; and no --raw_dir, where the packaged sample must not be written to."""
    with (
        settings.override(raw_dir=settings.Settings().raw_dir),
        pytest.raises(SystemExit) as stop,
    ):
        download.main(command)
    assert stop.value.code == 2 and "error:" in capsys.readouterr().err


def test_official_files_of_the_catalog_are_sound() -> None:
    for source in SOURCES.values():
        assert len({file.name for file in source.files}) == len(source.files), source.folder
        for file in source.files:
            where = f"{source.folder}/{file.name}"
            assert file.name, where
            assert file.manual or file.url.startswith(("https://", "http://", "hf://")), where
            assert len(file.md5) in (0, 32) and len(file.sha256) in (0, 64), where
