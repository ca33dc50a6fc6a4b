"""Unpacking of malicious archives (paths, links, devices, bombs) and of honest ones in every format."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from seqio_tasks.base import DataError
from seqio_tasks.download import unpacking
from seqio_tasks.download.unpacking import Limits, kind, safe_path, unpack

ESCAPES = ("../evil", "/evil", "a/../../evil", "..\\evil", "C:\\evil", "\\\\host\\evil", "a/..", "..")


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return path


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, io.BytesIO(content)


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, io.BytesIO]) -> Path:
    mode: Any = {".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz", ".tgz": "w:gz"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            archive.addfile(info, content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The dataset's folder; the archives of the tests are above it."""
    folder = tmp_path / "raw" / "set"
    folder.mkdir(parents=True)
    return folder


def unpack_into(folder: Path, archive: Path, *members: str, **options: Any) -> list[tuple[str, int]]:
    work = folder.parent / "work"
    try:
        return unpack(archive, folder, work, members, **options)
    finally:
        assert not work.exists()


def refused(folder: Path, archive: Path, *members: str, **options: Any) -> str:
    """The reason; nothing has been written, inside the folder or beside it."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(DataError) as error:
        unpack_into(folder, archive, *members, **options)
    assert sorted(archive.parent.rglob("*")) == before
    assert error.value.path == archive
    return str(error.value)


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_leave_the_folder_are_refused_in_zip(tmp_path: Path, folder: Path, name: str) -> None:
    archive = zip_of(tmp_path / "a.zip", ("good.txt", b"good"), (name, b"evil"))
    assert "outside the folder" in refused(folder, archive)


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_leave_the_folder_are_refused_in_tar(tmp_path: Path, folder: Path, name: str) -> None:
    archive = tar_of(tmp_path / "a.tar.gz", member("good.txt", b"good"), member(name, b"evil"))
    assert "outside the folder" in refused(folder, archive)


def test_the_whole_archive_is_refused_even_when_the_bad_member_is_not_needed(
    tmp_path: Path, folder: Path
) -> None:
    archive = zip_of(tmp_path / "a.zip", ("good.txt", b"good"), ("../evil", b"evil"))
    assert "outside the folder" in refused(folder, archive, "good.txt")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK])
def test_links_and_devices_in_zip_are_refused(tmp_path: Path, folder: Path, kind: int) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    assert "link or a device" in refused(folder, zip_of(tmp_path / "a.zip", (info, b"/etc/passwd")))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside.txt", "a/../../../outside.txt"])
@pytest.mark.parametrize("type_", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_that_leave_a_tar_are_refused(tmp_path: Path, folder: Path, target: str, type_: bytes) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    archive = tar_of(tmp_path / "a.tar", member("link", type=type_, linkname=target))
    assert "not safe" in refused(folder, archive)


def test_writing_through_a_link_of_the_same_archive_is_refused(tmp_path: Path, folder: Path) -> None:
    """The classic attack: a link to a folder outside, then a file below the link."""
    (tmp_path / "outside").mkdir()
    archive = tar_of(
        tmp_path / "a.tar",
        member("door", type=tarfile.SYMTYPE, linkname=str(tmp_path / "outside")),
        member("door/evil", b"evil"),
    )
    refused(folder, archive)
    # If only the file is wanted, the link is not extracted and the file stays inside.
    assert unpack_into(folder, archive, "door/evil") == [("door/evil", 4)]
    assert list((tmp_path / "outside").iterdir()) == []


def test_links_inside_a_tar_become_files(tmp_path: Path, folder: Path) -> None:
    archive = tar_of(
        tmp_path / "a.tar.gz",
        member("data/one.txt", b"one"),
        member("data/soft.txt", type=tarfile.SYMTYPE, linkname="one.txt"),
        member("hard.txt", type=tarfile.LNKTYPE, linkname="data/one.txt"),
    )
    assert unpack_into(folder, archive) == [("data/one.txt", 3), ("data/soft.txt", 3), ("hard.txt", 3)]
    for name in ("data/soft.txt", "hard.txt"):
        assert (folder / name).read_bytes() == b"one" and not (folder / name).is_symlink()
    assert (folder / "hard.txt").stat().st_nlink == 1


def test_links_in_a_circle_or_to_nothing_are_refused(tmp_path: Path, folder: Path) -> None:
    circle = tar_of(
        tmp_path / "a.tar",
        member("a", type=tarfile.SYMTYPE, linkname="b"),
        member("b", type=tarfile.SYMTYPE, linkname="a"),
    )
    assert "neither a file nor a link to a file of the archive" in refused(folder, circle)
    nothing = tar_of(tmp_path / "b.tar", member("a", type=tarfile.SYMTYPE, linkname="gone"))
    assert "neither a file nor a link to a file of the archive" in refused(folder, nothing)


@pytest.mark.parametrize("type_", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_in_tar_are_refused(tmp_path: Path, folder: Path, type_: bytes) -> None:
    assert "not safe" in refused(folder, tar_of(tmp_path / "a.tar", member("dev", type=type_)))


SMALL = Limits(ratio=20, floor=10_000, files=5)


@pytest.mark.parametrize("form", ["zip", "tar.gz", "tar.bz2", "tar.xz", "gz"])
def test_bombs_are_defused(tmp_path: Path, folder: Path, form: str) -> None:
    """Ten million zeros in a few kilobytes."""
    path, zeros = tmp_path / f"bomb.{form}", bytes(10_000_000)
    if form == "zip":
        zip_of(path, ("zeros", zeros))
    elif form == "gz":
        path.write_bytes(gzip.compress(zeros))
    else:
        tar_of(path, member("zeros", zeros))
    assert path.stat().st_size * SMALL.ratio < len(zeros)
    assert "too many for an archive of its size" in refused(folder, path, limits=SMALL)


def test_bombs_among_members_that_are_not_needed_are_defused(tmp_path: Path, folder: Path) -> None:
    archive = tar_of(tmp_path / "a.tar.gz", member("zeros", bytes(10_000_000)), member("good.txt", b"good"))
    assert "too many" in refused(folder, archive, "good.txt", limits=SMALL)


def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path: Path, folder: Path) -> None:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 4 << 30
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.USTAR_FORMAT) + bytes(4096))
    assert "too many for an archive of its size" in refused(folder, path, limits=SMALL)


@pytest.mark.parametrize(("size", "reason"), [(-512, "negative size"), (4 << 30, "too many for an archive")])
@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_member_that_claims_an_impossible_size_is_refused(
    tmp_path: Path, folder: Path, size: int, reason: str, format_: int
) -> None:
    """A negative size makes some versions of tarfile read the same member for ever."""
    header = tarfile.TarInfo("a.txt")
    if format_ == tarfile.PAX_FORMAT:
        header.pax_headers = {"size": str(size)}
    else:
        header.size = size
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(format_) + bytes(4096))
    assert reason in refused(folder, path, "wanted.txt", limits=SMALL)


def test_too_many_members_are_refused(tmp_path: Path, folder: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", *((f"{i}.txt", b"x") for i in range(6)))
    assert "more than 5 members" in refused(folder, archive, limits=SMALL)


def test_the_limit_grows_with_the_archive(tmp_path: Path, folder: Path) -> None:
    noise = os.urandom(50_000)
    archive = zip_of(tmp_path / "a.zip", ("a", noise))
    assert unpack_into(folder, archive, limits=SMALL) == [("a", 50_000)]


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_honest_archives_are_unpacked(tmp_path: Path, folder: Path, form: str) -> None:
    path = tmp_path / f"a.{form}"
    if form == "zip":
        zip_of(path, ("./in/", b""), ("./in/a.txt", b"one"), ("b.txt", b""), ("__MACOSX/._b.txt", b"x"))
    else:
        tar_of(
            path,
            member("./in", type=tarfile.DIRTYPE),
            member("./in/a.txt", b"one", mode=0o4777),
            member("b.txt"),
        )
    assert unpack_into(folder, path) == [("b.txt", 0), ("in/a.txt", 3)]
    assert (folder / "in/a.txt").read_bytes() == b"one"
    assert not (folder / "in/a.txt").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)
    assert unpack_into(folder, path) == [("b.txt", 0), ("in/a.txt", 3)]


def test_the_compression_of_a_tar_is_known_by_its_bytes(tmp_path: Path, folder: Path) -> None:
    """Some servers decompress .tar.gz on the way."""
    plain = tar_of(tmp_path / "a.tar", member("a", b"one"))
    assert unpack_into(folder, plain.rename(tmp_path / "a.tar.gz")) == [("a", 3)]


def test_only_needed_members_are_written_and_all_must_be_there(tmp_path: Path, folder: Path) -> None:
    archive = tar_of(
        tmp_path / "a.tar", member("x/train.jsonl", b"1"), member("x/y/test.jsonl", b"2"), member("paper.pdf")
    )
    assert unpack_into(folder, archive, "train.jsonl", "y/*.jsonl") == [
        ("x/train.jsonl", 1),
        ("x/y/test.jsonl", 1),
    ]
    assert not (folder / "paper.pdf").exists()
    assert "no member fits 'dev.jsonl'" in refused(folder, archive, "train.jsonl", "dev.jsonl")


def test_a_different_file_in_the_folder_is_kept(tmp_path: Path, folder: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("a.txt", b"official"), ("b.txt", b"more"))
    (folder / "b.txt").write_bytes(b"mine")
    assert "differs" in refused(folder, archive)
    assert (folder / "b.txt").read_bytes() == b"mine"
    unpack_into(folder, archive, replace=True)
    assert (folder / "b.txt").read_bytes() == b"more"


def test_two_members_of_one_name_are_refused(tmp_path: Path, folder: Path) -> None:
    archive = tar_of(tmp_path / "a.tar", member("a.txt", b"1"), member("./a.txt", b"2"))
    assert "two members are called 'a.txt'" in refused(folder, archive)
    archive = tar_of(tmp_path / "b.tar", member("a", b"1"), member("a/b", b"2"))
    assert "two members are called 'a/b', or one is the other's folder" in refused(folder, archive)


@pytest.mark.parametrize("form", ["zip", "tar.gz", "tar.xz", "gz"])
def test_damaged_archives_are_reported(tmp_path: Path, folder: Path, form: str) -> None:
    path, noise = tmp_path / f"a.{form}", os.urandom(200_000)
    if form == "zip":
        zip_of(path, ("a", noise))
    elif form == "gz":
        path.write_bytes(gzip.compress(noise))
    else:
        tar_of(path, member("a", noise))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cannot be unpacked" in refused(folder, path)
    path.write_bytes(b"<html>not an archive</html>")
    assert "cannot be unpacked" in refused(folder, path)


def test_a_flipped_bit_is_found(tmp_path: Path, folder: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("a", os.urandom(1000)))
    damaged = bytearray(archive.read_bytes())
    damaged[500] ^= 1
    archive.write_bytes(damaged)
    assert "cannot be unpacked" in refused(folder, archive)


@pytest.mark.parametrize("form", ["tar.gz", "tar.bz2", "tar.xz", "gz"])
def test_flipped_bytes_in_a_compressed_stream_are_found(tmp_path: Path, folder: Path, form: str) -> None:
    path, noise = tmp_path / f"a.{form}", os.urandom(200_000)
    if form == "gz":
        path.write_bytes(gzip.compress(noise))
    else:
        tar_of(path, member("a", noise))
    damaged = bytearray(path.read_bytes())
    damaged[100_000:100_100] = bytes(byte ^ 255 for byte in damaged[100_000:100_100])
    path.write_bytes(damaged)
    assert "cannot be unpacked" in refused(folder, path)


def test_a_full_disk_is_no_fault_of_the_archive(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpacking, "put_in_place", full)
    with pytest.raises(OSError, match="No space left"):
        unpack_into(folder, zip_of(tmp_path / "a.zip", ("a", b"one")))


def test_encrypted_members_are_reported(tmp_path: Path, folder: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", ("a", b"one"))
    content = bytearray(archive.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    archive.write_bytes(content)
    assert "encrypted" in refused(folder, archive)


def test_names_inside_the_folder_are_taken_as_they_are() -> None:
    for name in ("a..b/c", "...", "a/ b", "C", "übung.txt"):
        assert str(safe_path(name)) == name
    assert [kind(name) for name in ("A.ZIP", "a.tar.xz", "x.gzip", "a.json", "a.7z")] == [
        "zip",
        "tar",
        "",
        "",
        "foreign",
    ]
