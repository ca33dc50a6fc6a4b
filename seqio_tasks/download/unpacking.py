"""Unpack downloaded archives without trusting them: zip, tar (plain, gz, bz2, xz), and single .gz files.

Only plain files are written, and only below the dataset's folder. Absolute names, ``..``, links that leave
the archive, devices and encrypted members are refused, and so is more data than an honest archive of that
size could hold. Members are extracted into a work folder first and moved once all of them are there; an
existing file that differs is overwritten only on request.
"""

from __future__ import annotations

import filecmp
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from seqio_tasks.base import DataError
from seqio_tasks.download.files import progress_bar, put_in_place

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
# What the decompressors raise on damaged or foreign input.
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)
_Members = Iterator[tuple[str, bool, Callable[[], Any]]]  # name, whether it is a folder, its content


@dataclass(frozen=True)
class Limits:
    """What an archive may grow to: `ratio` times its own size (at least `floor` bytes), and `files` members.

    Text packs about ten to one, tables of judgments up to forty; a bomb a thousand to one and more.
    """

    ratio: int = 100
    floor: int = 64 << 20
    files: int = 1_000_000


class _Budget:
    """Bytes that may still come out of an archive."""

    def __init__(self, total: int) -> None:
        self.total = self.left = total

    def spend(self, count: int) -> None:
        if count < 0:
            raise DataError("a member claims a negative size", todo="do not use this archive")
        self.left -= count
        if self.left < 0:
            raise DataError(
                f"more than {self.total:,} bytes come out of it, too many for an archive of its size",
                todo="if its publisher says that this is right, unpack it by hand; else do not use it",
            )


def kind(name: str) -> str:
    """How a file is packed, by its name: "zip", "tar", "gz", "foreign" (Python cannot open it) or "".

    >>> [kind(name) for name in ("a.zip", "b.tar.gz", "c.tsv.gz", "d.7z", "e.tsv")]
    ['zip', 'tar', 'gz', 'foreign', '']
    """
    suffixes = {"tar": _TAR, "foreign": (".7z", ".rar"), "zip": (".zip",), "gz": (".gz",)}
    return next((found for found, endings in suffixes.items() if name.lower().endswith(endings)), "")


def safe_path(name: str) -> PurePosixPath:
    """The path of a member below the folder.

    Raises:
      DataError: the name points outside the folder.

    >>> str(safe_path("./nfcorpus\\\\qrels//test.tsv"))
    'nfcorpus/qrels/test.tsv'
    """
    path = PurePosixPath(name.replace("\\", "/"))
    drive = bool(path.parts) and path.parts[0][1:2] == ":"
    if path.is_absolute() or ".." in path.parts or drive or "\0" in name:
        raise DataError(f"{name!r} would be written outside the folder", todo="do not use this archive")
    return path


def wanted(path: PurePosixPath, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern matches the end of the path; without patterns every file but those macOS adds.

    >>> wanted(PurePosixPath("nfcorpus/qrels/test.tsv"), ("qrels/*.tsv",))
    True
    """
    if path.parts[:1] == ("__MACOSX",) or path.name == ".DS_Store":
        return False
    return not patterns or any(path.match(pattern) for pattern in patterns)


def unpack(
    archive: Path,
    folder: Path,
    work: Path,
    patterns: tuple[str, ...] = (),
    *,
    replace: bool = False,
    limits: Limits | None = None,
) -> list[tuple[str, int]]:
    """Unpack the needed members of `archive` into `folder`.

    Args:
      work: a folder of its own while unpacking; emptied before and removed afterwards.
      patterns: which members are needed (see `wanted`); each must match one.
      replace: overwrite existing files that differ.
      limits: what the archive may grow to.

    Returns:
      (path below `folder`, bytes) of every file, sorted.

    Raises:
      DataError: the archive is damaged, unsafe or incomplete; nothing has been written to `folder`.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        sizes = _extract(archive, work, patterns, limits or Limits())
        for pattern in patterns:
            if not any(PurePosixPath(name).match(pattern) for name in sizes):
                raise DataError(
                    f"no member fits {pattern!r}", todo="the publisher may have changed the archive"
                )
        for name in sizes:
            there = folder / name
            if there.exists() and not replace and not filecmp.cmp(work / name, there, shallow=False):
                what = f"{there} exists already and differs from the archive's"
                raise DataError(what, todo="move it away, or run again with --replace")
        for name in sizes:
            put_in_place(work / name, folder / name)
        return sorted(sizes.items())
    except DataError as error:
        raise DataError(error.what, path=archive, todo=error.todo) from None
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno:  # of the disk, not of the archive
            raise
        what, todo = f"cannot be unpacked ({error})", "delete it and run the same command again"
        raise DataError(what, path=archive, todo=todo) from None
    except (RuntimeError, NotImplementedError) as error:  # zipfile: encrypted, or an unknown method
        raise DataError(f"cannot be unpacked ({error})", path=archive, todo="unpack it by hand") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(archive: Path, work: Path, patterns: tuple[str, ...], limits: Limits) -> dict[str, int]:
    """Write the wanted members into `work`; the size of each."""
    packed_size = archive.stat().st_size
    most = max(limits.floor, limits.ratio * packed_size)
    budget, sizes = _Budget(most), dict[str, int]()
    list_members = {"zip": _zip_members, "tar": _tar_members, "gz": _gz_member}[kind(archive.name)]
    with archive.open("rb") as raw, progress_bar(f"unpacking {archive.name}", packed_size, delay=1.0) as bar:
        for member, is_folder, content in list_members(raw, work, _Budget(most)):
            path = safe_path(member)
            if is_folder or not wanted(path, patterns):
                continue
            if len(sizes) == limits.files:
                raise DataError(f"more than {limits.files:,} members", todo="do not use this archive")
            name, target = str(path), work / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                out = target.open("xb")
            except (FileExistsError, NotADirectoryError):
                what = f"two members are called {name!r}, or one is the other's folder"
                raise DataError(what, todo="unpack the archive by hand") from None
            sizes[name] = 0
            with out, content() as stream:
                while block := stream.read(1 << 20):
                    budget.spend(len(block))
                    sizes[name] += out.write(block)
                    bar.update(raw.tell() - bar.n)
    return sizes


def _zip_members(raw: IO[bytes], work: Path, budget: _Budget) -> _Members:
    with zipfile.ZipFile(raw) as packed:
        for info in packed.infolist():
            yield info.filename, info.is_dir(), partial(_open_zipped, packed, info)


def _open_zipped(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    # The upper half is the Unix mode; zero when the archive comes from another system.
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise DataError(f"member {info.filename!r} is a link or a device", todo="do not use this archive")
    return packed.open(info)


def _tar_members(raw: IO[bytes], work: Path, budget: _Budget) -> _Members:
    if not hasattr(tarfile, "data_filter"):
        raise DataError("this Python cannot unpack tar files safely", todo="use Python 3.11.4 or newer")

    class Header(tarfile.TarInfo):
        """Spends what a header claims before tarfile reads or skips that much."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Header:
            info = super().frombuf(buf, encoding, errors)
            budget.spend(info.size)
            budget.spend(tarfile.BLOCKSIZE)
            return info

    # "r:*" knows the compression by the first bytes: some servers decompress a .tar.gz on the way.
    with tarfile.open(fileobj=raw, mode="r:*", tarinfo=Header) as packed:
        for info in packed:
            if "size" in info.pax_headers or info.issparse():  # which the header itself does not show
                budget.spend(info.size)
            yield info.name, info.isdir(), partial(_open_tarred, packed, info, work)
        # The checksum of a compressed stream lies at its end, which tarfile does not read.
        while packed.fileobj and (rest := packed.fileobj.read(1 << 20)):
            budget.spend(len(rest))


def _open_tarred(packed: tarfile.TarFile, info: tarfile.TarInfo, work: Path) -> IO[bytes]:
    """The content of a member; that of a link is the content of the member it points to."""
    try:
        tarfile.data_filter(info, str(work))
        content = packed.extractfile(info)
    except tarfile.FilterError as error:
        what = f"member {info.name!r} is not safe ({error})"
        raise DataError(what, todo="do not use this archive") from None
    except (KeyError, RecursionError):
        content = None
    if content is None:
        what = f"member {info.name!r} is neither a file nor a link to a file of the archive"
        raise DataError(what, todo="unpack the archive by hand")
    return content


def _gz_member(raw: IO[bytes], work: Path, budget: _Budget) -> _Members:
    name = PurePosixPath(raw.name).name.removesuffix(".gz")
    yield name, False, partial(gzip.GzipFile, fileobj=raw)
