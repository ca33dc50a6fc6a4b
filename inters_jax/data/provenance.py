"""What a store was made from, to notice a stale one: settings, tokenizer, code, templates, files.

Everything here is cheap: an existing store is checked in well under a second, without SeqIO or TensorFlow.
Raw folders are identified by the names and sizes of their files and by the first and last 64 KiB of each;
code and templates by their whole content. What is no longer on this machine (raw files on a training host)
cannot have changed the store and is ignored.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from seqio_tasks import catalog, hub_names
from seqio_tasks import settings as task_settings
from seqio_tasks.base import file_sha256
from seqio_tasks.prompts import chat
from seqio_tasks.tokenizer_files import local_tokenizer, special_tokens

PLAIN = chat.NONE  # no chat template: plain prompts, as in the paper
# Parts of seqio_tasks that no prepared token depends on.
_WITHOUT_INFLUENCE = (
    *("metrics/", "sample/", "download/", "catalog/page.py"),
    *("templates/__main__.py", "templates/linter.py", "templates/wording.py"),
)
_BLOCK = 1 << 16
_MISSING = ""


def package_folder(name: str) -> Path | None:
    """The folder of a package, found without importing it; None if it is not installed."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def raw_folder(raw_dir: str | None) -> Path:
    """The folder of raw files: as given, else INTERS_RAW_DIR, else the packaged sample."""
    return Path(task_settings.resolve("raw_dir", raw_dir))


def tokenizer_source(tokenizer: str | None) -> str:
    """The tokenizer: as given, else INTERS_TOKENIZER, else that of the packaged sample."""
    return task_settings.resolve("tokenizer", tokenizer)


def tokenizer_identity(tokenizer: str) -> dict[str, Any] | None:
    """What a store records about its tokenizer.

    Args:
      tokenizer: a tokenizer.json, a folder with one, or a hub name.

    Returns:
      {"sha256": of tokenizer.json, "special": its named tokens}; None for a hub name not yet downloaded.
    """
    file = local_tokenizer(tokenizer)
    if file is None:
        return None
    names, _ = special_tokens(file.parent)
    special = {f"{kind}_token": names.get(kind) for kind in ("bos", "eos")} if names else {}
    return {"sha256": file_sha256(file), "special": special}


def hub_revision(tokenizer: str) -> dict[str, str]:
    """{"hub": ``org/name@commit``} of a tokenizer from the Hugging Face hub, else {}."""
    file = local_tokenizer(tokenizer)
    found = None if file is None else hub_names.of_folder(file.parent)
    return {} if found is None else {"hub": found}


def chat_template_asked(chat_template: str | None) -> str:
    """The chat template: as given, else INTERS_CHAT_TEMPLATE, else "none"."""
    return task_settings.resolve("chat_template", chat_template)


def chat_template_identity(chat_template: str, tokenizer: str) -> str:
    """What a store records about its chat template: the name of its file and the digest of its text.

    Raises:
      MissingData: there is no such template.
    """
    chat.template_text(chat_template, tokenizer)  # refuses a file without a template
    path = chat.template_file(chat_template, tokenizer)
    content = path.read_bytes()
    if path.suffix == ".json":
        content = json.dumps(json.loads(content)["chat_template"], sort_keys=True).encode()
    return f"{path.name} {hashlib.sha256(content).hexdigest()[:16]}"


def digest_file(path: Path) -> str:
    """Digest of a file's content; empty without one."""
    return file_sha256(path)[:32] if path.is_file() else _MISSING


def digest_folder(folder: Path, *, whole: bool = False) -> str:
    """Digest of the names, sizes, first and last blocks of all files of a folder; empty without one.

    Args:
      folder: the folder.
      whole: whether to read the files to the end: seconds per gigabyte.
    """
    if not folder.is_dir():
        return _MISSING
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        if whole:
            digest.update(file_sha256(path).encode())
            continue
        with path.open("rb") as file:
            digest.update(file.read(_BLOCK))
            if size > _BLOCK:
                file.seek(max(_BLOCK, size - _BLOCK))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:32]


def digest_raw(path: Path, *, whole: bool = False) -> str:
    """`digest_folder` of a folder, or a digest of a file; empty without one."""
    if not path.is_file():
        return digest_folder(path, whole=whole)
    if whole:
        return digest_file(path)
    size = path.stat().st_size
    digest = hashlib.sha256(f"{size}\0".encode())
    with path.open("rb") as file:
        digest.update(file.read(_BLOCK))
        file.seek(max(0, size - _BLOCK))
        digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:32]


def digests(paths: Iterable[str]) -> dict[str, str]:
    """{path: digest} of files and folders; the digest of what is not on this machine is empty."""
    return {
        path: digest_folder(Path(path)) if Path(path).is_dir() else digest_file(Path(path)) for path in paths
    }


def code_digests(modules: Sequence[str]) -> dict[str, str]:
    """Digests of the modules that register tasks, and of all their templates.

    Args:
      modules: names of packages or modules; those not installed are ignored.

    Returns:
      {"code:<package>/<file>": digest}; for a single-file module, only that file.
    """
    found = {}
    for module in modules:
        top, _, rest = module.partition(".")
        package = package_folder(top)
        if package is None:
            continue
        spec = importlib.util.find_spec(top)
        if spec is not None and not spec.submodule_search_locations:
            files = [Path(str(spec.origin))]
        elif rest:
            path = package / rest.replace(".", "/")
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        else:
            files = sorted([*package.rglob("*.py"), *package.rglob("*.yaml")])
        for file in files:
            inside = file.relative_to(package).as_posix()
            if not inside.startswith(_WITHOUT_INFLUENCE):
                found[f"code:{package.name}/{inside}"] = digest_file(file)
    return found


def code_sources(digests: Mapping[str, str], tasks: Iterable[str]) -> dict[str, str]:
    """Those of `code_digests` that concern some tasks: all modules, and the templates of these tasks.

    Of tasks on data of one's own also the digests of their declarations.
    """
    names = tuple(tasks)

    def used(file: PurePosixPath) -> bool:
        of_task = file.suffix == ".yaml" and file.parent.name == "templates"
        return not of_task or any(f"_{file.stem}_" in name for name in names)

    return _declared(names) | {key: found for key, found in digests.items() if used(PurePosixPath(key))}


def _declared(tasks: Iterable[str]) -> dict[str, str]:
    """Digests of what was declared of the tasks on data of one's own, and of their template files."""
    found = {}
    for pair in {pair.name: pair for task in tasks if (pair := catalog.pair_of(task))}.values():
        if pair.identity:
            found[f"code:datasets/{pair.dataset}"] = pair.identity
        if pair.templates:
            found[f"code:datasets/{pair.dataset}/templates"] = digest_file(Path(pair.templates))
    return found


def raw_sources(raw_dir: Path, folders: Iterable[str]) -> dict[str, str]:
    """{"raw:<folder>": digest}, also of files and of what is elsewhere, by its absolute path."""
    return {f"raw:{folder}": digest_raw(raw_dir / folder) for folder in sorted(set(folders))}


class OpenedFolders:
    """Records which folders of `raw_dir` are read inside a ``with`` block: a task may read more than its own.

    Python reports every file it opens to audit hooks; one hook serves all blocks and does nothing between
    them.
    """

    _active: ClassVar[list[OpenedFolders]] = []
    _hooked: ClassVar[bool] = False

    def __init__(self, raw_dir: Path, *, ignore: Path) -> None:
        self._raw_dir = _plain(raw_dir) + os.sep
        self._ignore = _plain(ignore) + os.sep  # what is being written, in case it is in raw_dir
        self.folders: set[str] = set()

    def __enter__(self) -> OpenedFolders:
        if not OpenedFolders._hooked:
            sys.addaudithook(_note_opened)
            OpenedFolders._hooked = True
        self._active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._active.remove(self)

    def note(self, path: str) -> None:
        """Record an opened file."""
        if path.startswith(self._raw_dir) and not path.startswith(self._ignore):
            folder, separator, _ = path[len(self._raw_dir) :].partition(os.sep)
            if separator:
                self.folders.add(folder)


def _plain(path: Path) -> str:
    """Absolute and without `..`, without resolving links: a dataset's folder may be a link."""
    return os.path.normpath(path.absolute())


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and OpenedFolders._active and isinstance(arguments[0], str):
        path = _plain(Path(arguments[0]))
        for block in OpenedFolders._active:
            block.note(path)


def differences(
    manifest: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    tokenizer: str,
    raw_dir: Path,
    modules: Sequence[str],
    check_sources: bool = True,
) -> list[str]:
    """How a store differs from what is requested now.

    Args:
      manifest: of the store.
      settings: the settings requested, as recorded in a manifest.
      tokenizer: a tokenizer.json, a folder with one, or a hub name.
      raw_dir: folder of raw files.
      modules: the modules that register the tasks.
      check_sources: whether code, templates and raw files are compared.

    Returns:
      One readable line per difference.
    """
    stored = manifest["settings"]
    found = [
        f"{name} is {stored.get(name)!r} in the store, {settings.get(name)!r} now"
        for name in dict.fromkeys([*settings, *stored])
        if stored.get(name) != settings.get(name)
    ]
    identity = tokenizer_identity(tokenizer)
    known = manifest["tokenizer"]
    if identity is None:
        if tokenizer != known["name"]:
            found.append(f"the tokenizer was {known['name']}, now it is {tokenizer}")
    elif identity["sha256"] != known["sha256"]:
        found.append(f"the tokenizer (was {known['name']}, now {tokenizer}) has another tokenizer.json")
    elif identity["special"] != known["special"]:
        found.append(f"the tokenizer's special tokens were {known['special']}, now {identity['special']}")
    if not check_sources:
        return found
    sources = manifest["sources"]
    names = [*manifest["tasks"], *manifest["without_data"]]
    now = code_sources(code_digests(modules), names)
    folders = [key.removeprefix("raw:") for key in sources if key.startswith("raw:")]
    present = raw_sources(raw_dir, folders) if raw_dir.is_dir() else {}
    now |= {key: digest for key, digest in present.items() if digest != _MISSING}
    # A package that is missing entirely (on a training host) is ignored, like raw files.
    packages = {key.partition("/")[0] for key in now}
    for key in sorted({*now, *sources}):
        kind, _, name = key.partition(":")
        if key not in now:
            if kind == "code" and key.partition("/")[0] in packages:
                found.append(f"{name} no longer exists")
        elif key not in sources or sources[key] == _MISSING:
            found.append(f"{name} has been added since")
        elif now[key] != sources[key]:
            folder = kind == "raw" and not (raw_dir / name).is_file()
            found.append(f"{'the files in ' if folder else ''}{name} changed since")
    return found
