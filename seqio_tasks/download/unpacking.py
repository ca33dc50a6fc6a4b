"""Unpacking official archives without trusting them: zip, tar (plain, gz, bz2, xz), and single .gz files.

Nothing but plain files is ever written, and only below the dataset's folder. Absolute names, ``..``, links
that leave the archive, devices and encrypted members are refused; so is more data than an honest archive of
that size could hold. Members are written into the work folder first and moved when all of them are there; a
file that is in the folder already and differs is never overwritten unless the caller says so.
"""

from __future__ import annotations

import bz2
import filecmp
import gzip
import lzma
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from seqio_tasks.base import DataError
from seqio_tasks.download.fetching import put_in_place
from seqio_tasks.download.transfers import progress_bar

_BLOCK = 1 << 20
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# What the decompressors raise on damaged or foreign input.
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True)
class Limits:
    """What an archive may grow to: ``ratio`` times its own size (never less than ``floor`` bytes), ``files``.

    Text packs about ten to one, tables of judgments up to forty; a bomb a thousand to one and more.
    """

    ratio: int = 100
    floor: int = 64 << 20
    files: int = 1_000_000

    def bytes_for(self, archive: Path) -> int:
        return max(self.floor, self.ratio * archive.stat().st_size)


class Refused(Exception):
    """What is wrong with a member, before it is known which archive it is in."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what)
        self.todo = todo


def kind(name: str) -> str:
    """How a file is packed, by its name: "zip", "tar", "gz", "foreign" (nothing here can open it) or "".

    >>> [kind(name) for name in ("a.zip", "b.tar.gz", "c.tsv.gz", "d.7z", "e.tsv")]
    ['zip', 'tar', 'gz', 'foreign', '']
    """
    lower = name.lower()
    if lower.endswith(_TAR):
        return "tar"
    if lower.endswith((".7z", ".rar")):
        return "foreign"
    return next((suffix for suffix in ("zip", "gz") if lower.endswith(f".{suffix}")), "")


def safe_path(name: str) -> PurePosixPath:
    """The member's path below the folder; a name that points anywhere else is refused.

    >>> str(safe_path("./nfcorpus\\\\qrels//test.tsv"))
    'nfcorpus/qrels/test.tsv'
    """
    path = PurePosixPath(name.replace("\\", "/"))
    drive = bool(path.parts) and len(path.parts[0]) > 1 and path.parts[0][1] == ":"
    if path.is_absolute() or ".." in path.parts or drive or "\0" in name:
        raise Refused(f"member {name!r} would be written outside the folder", todo="do not use this archive")
    return path


def wanted(path: PurePosixPath, members: tuple[str, ...]) -> bool:
    """Whether one of the patterns fits the end of the path; without patterns everything is wanted.

    What macOS adds to archives is never wanted.

    >>> wanted(PurePosixPath("nfcorpus/qrels/test.tsv"), ("qrels/*.tsv",))
    True
    """
    if path.parts[:1] == ("__MACOSX",) or path.name == ".DS_Store":
        return False
    return not members or any(path.match(pattern) for pattern in members)


def unpack(
    archive: Path,
    folder: Path,
    work: Path,
    members: tuple[str, ...] = (),
    *,
    replace: bool = False,
    limits: Limits | None = None,
) -> list[tuple[str, int]]:
    """Unpack the needed members of ``archive`` into ``folder``; (path below it, bytes) of each, sorted.

    ``work`` is a folder of its own for the time of unpacking; it is emptied before and removed after.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        written = _write_members(archive, work, members, limits or Limits())
        for pattern in members:
            if not any(PurePosixPath(name).match(pattern) for name, _ in written):
                raise Refused(
                    f"no member fits {pattern!r}", todo="the publisher may have changed the archive"
                )
        for name, _ in written:
            there = folder / name
            if there.exists() and not replace and not filecmp.cmp(work / name, there, shallow=False):
                raise Refused(
                    f"{there} is there already and differs from the archive's",
                    todo="move it away, or run again with --replace",
                )
        for name, _ in written:
            put_in_place(work / name, folder / name)
        return written
    except _BROKEN as error:
        raise DataError(
            f"cannot be unpacked ({error})", path=archive, todo="delete it and run the same command again"
        ) from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, or an unknown method
        raise DataError(f"cannot be unpacked ({error})", path=archive, todo="unpack it by hand") from None
    except Refused as error:
        raise DataError(str(error), path=archive, todo=error.todo) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _write_members(
    archive: Path, work: Path, members: tuple[str, ...], limits: Limits
) -> list[tuple[str, int]]:
    budget = _Budget(limits.bytes_for(archive))
    sizes: dict[str, int] = {}
    with (
        archive.open("rb") as raw,
        progress_bar(f"unpacking {archive.name}", archive.stat().st_size, delay=1.0) as bar,
    ):
        openers = {"zip": _zip_members, "tar": _tar_members, "gz": _gz_member}
        for path, stream in openers[kind(archive.name)](archive, raw, members, budget, work):
            name = str(path)
            if name in sizes:
                raise Refused(f"two members are called {name!r}", todo="unpack the archive by hand")
            if len(sizes) == limits.files:
                raise Refused(f"more than {limits.files:,} members", todo="do not use this archive")
            target = work / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                out = target.open("xb")
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise Refused(
                    f"member {name!r} is a file and a folder at once", todo="unpack the archive by hand"
                ) from None
            sizes[name] = 0
            with out, stream:
                while block := stream.read(_BLOCK):
                    budget.spend(len(block))
                    sizes[name] += out.write(block)
                    bar.update(raw.tell() - bar.n)
    return sorted(sizes.items())


class _Budget:
    """Bytes that may still come out of the archive."""

    def __init__(self, total: int) -> None:
        self.total = self.left = total

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise Refused(
                f"more than {self.total:,} bytes come out of it, too many for an archive of its size",
                todo="if its publisher says that this is right, unpack it by hand; else do not use it",
            )


_Members = Iterator[tuple[PurePosixPath, IO[bytes]]]


def _zip_members(
    archive: Path, raw: IO[bytes], members: tuple[str, ...], budget: _Budget, work: Path
) -> _Members:
    with zipfile.ZipFile(raw) as packed:
        for info in packed.infolist():
            path = safe_path(info.filename)
            if info.is_dir() or not wanted(path, members):
                continue
            # The upper half holds the Unix mode, or nothing when the archive comes from elsewhere.
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise Refused(
                    f"member {info.filename!r} is a link or a device", todo="do not use this archive"
                )
            yield path, packed.open(info)


def _tar_members(
    archive: Path, raw: IO[bytes], members: tuple[str, ...], budget: _Budget, work: Path
) -> _Members:
    check = getattr(tarfile, "data_filter", None)
    if check is None:
        raise Refused("this Python cannot unpack tar files safely", todo="use Python 3.11.4 or newer")
    watched: Any = _Watched(_decompressed(raw), budget.total)
    with tarfile.open(fileobj=watched, mode="r:") as packed:
        for info in packed:
            path = safe_path(info.name)
            if info.isdir() or not wanted(path, members):
                continue
            try:
                check(info, str(work))
            except tarfile.FilterError as error:
                raise Refused(
                    f"member {info.name!r} is not safe ({error})", todo="do not use this archive"
                ) from None
            source = _linked(packed, info) if info.islnk() or info.issym() else info
            content = packed.extractfile(source) if source.isreg() else None
            if content is None:
                raise Refused(
                    f"member {info.name!r} is neither a file nor a link to one",
                    todo="unpack the archive by hand",
                )
            yield path, content


def _linked(packed: tarfile.TarFile, info: tarfile.TarInfo) -> tarfile.TarInfo:
    """The member a link stands for: its content is written, never the link itself."""
    name = info.linkname if info.islnk() else posixpath.join(posixpath.dirname(info.name), info.linkname)
    try:
        return packed.getmember(posixpath.normpath(name))
    except KeyError:
        raise Refused(
            f"member {info.name!r} is a link to {info.linkname!r}, which is not in the archive",
            todo="unpack the archive by hand",
        ) from None


def _gz_member(
    archive: Path, raw: IO[bytes], members: tuple[str, ...], budget: _Budget, work: Path
) -> _Members:
    yield PurePosixPath(archive.name[: -len(".gz")]), gzip.GzipFile(fileobj=raw)  # type: ignore[misc]


def _decompressed(raw: IO[bytes]) -> Any:
    """The tar stream inside, by the first bytes: names lie, and some servers unpack on the way."""
    magic = raw.read(6)
    raw.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)
    if magic.startswith(b"BZh"):
        return bz2.BZ2File(raw)
    if magic == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(raw)
    return raw


class _Watched:
    """A tar stream that ends the reading when a header, or all that is skipped, grows beyond the budget."""

    def __init__(self, stream: Any, limit: int) -> None:
        self.stream, self.limit = stream, limit

    def read(self, size: int = -1) -> bytes:
        self._check(self.stream.tell() + max(size, 0))
        data: bytes = self.stream.read(size)
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        self._check(position)
        place: int = self.stream.seek(position, whence)
        return place

    def tell(self) -> int:
        place: int = self.stream.tell()
        return place

    def _check(self, position: int) -> None:
        if position > self.limit + _BLOCK:
            _Budget(self.limit).spend(position)
