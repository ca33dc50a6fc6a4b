"""What a store was made from, so that a stale one is noticed: settings, tokenizer, code, templates, files.

Everything here is cheap and needs neither SeqIO nor TensorFlow: an existing store is checked in well under a
second. Raw folders are known by the names and sizes of their files and by the first and last 64 KiB of each;
code and templates by their whole content. What is not on this machine any more (raw files on a training
host) cannot have changed the store and is passed over.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from inters_jax.data.token_store import StoreError

OWN_PACKAGE = "seqio_tasks"
PLAIN = "none"  # no chat template: plain prompts, as in the paper
# Parts of the package that no prepared token depends on.
_WITHOUT_INFLUENCE = ("metrics/", "sample/", "templates/__main__.py", "templates/linter.py", "download.py")
_BLOCK = 1 << 16
_MISSING = ""


def package_folder(name: str) -> Path | None:
    """Where a package lies, without importing it; None when it is not installed."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def raw_folder(raw_dir: str | None) -> Path:
    """The folder of raw files: as given, else INTERS_RAW_DIR, else the packaged sample."""
    return _given_or_sample(raw_dir, "INTERS_RAW_DIR", "sample", "raw_dir")


def tokenizer_source(tokenizer: str | None) -> str:
    """The tokenizer: as given, else INTERS_TOKENIZER, else the packaged sample's."""
    return str(_given_or_sample(tokenizer, "INTERS_TOKENIZER", "sample/tokenizer", "tokenizer"))


def _given_or_sample(given: str | None, variable: str, inside: str, argument: str) -> Path:
    chosen = given or os.environ.get(variable, "").strip()
    if chosen:
        return Path(chosen)
    package = package_folder(OWN_PACKAGE)
    if package is None:
        raise StoreError(
            f"{argument} is not given and {OWN_PACKAGE}, whose sample would be used, is not installed"
        )
    return package / inside


def tokenizer_identity(tokenizer: str) -> dict[str, Any] | None:
    """{"sha256" of tokenizer.json, "special": its named tokens}; None for a hub name not yet downloaded.

    Args:
      tokenizer: a tokenizer.json, a folder with one, or a hub name.
    """
    path = Path(tokenizer)
    if path.is_dir():
        file: Path | None = path / "tokenizer.json"
    elif path.is_file():
        file = path
    else:
        file = _downloaded(tokenizer, "tokenizer.json")
    if file is None or not file.is_file():
        return None
    special: dict[str, Any] = {}
    config = file.parent / "tokenizer_config.json"
    if config.is_file():
        content = json.loads(config.read_text(encoding="utf-8"))
        for name in ("bos_token", "eos_token"):
            token = content.get(name)
            special[name] = token.get("content") if isinstance(token, dict) else token
    return {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "special": special}


def chat_template_asked(chat_template: str | None) -> str:
    """The chat template: as given, else INTERS_CHAT_TEMPLATE, else "none"."""
    return chat_template or os.environ.get("INTERS_CHAT_TEMPLATE", "").strip() or PLAIN


def chat_template_identity(chat_template: str, tokenizer: str) -> str:
    """What a store says about its chat template: where it came from and the digest of its text."""
    path = _chat_template_file(chat_template, tokenizer)
    content = path.read_bytes()
    if path.suffix == ".json":
        content = json.dumps(json.loads(content).get("chat_template"), sort_keys=True).encode()
    return f"{path.name} {hashlib.sha256(content).hexdigest()[:16]}"


def chat_template_text(chat_template: str, tokenizer: str) -> str:
    """The Jinja text of a chat template that is not "none"."""
    path = _chat_template_file(chat_template, tokenizer)
    if path.suffix != ".json":
        return path.read_text(encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
    if isinstance(found, list):  # several by name
        found = {entry["name"]: entry["template"] for entry in found}.get("default")
    if not isinstance(found, str):
        raise StoreError(f"chat template {chat_template!r}: {path} names none; give a file with Jinja text")
    return found


def _chat_template_file(chat_template: str, tokenizer: str) -> Path:
    """Where a chat template stands.

    The same places in the same order as `seqio_tasks.prompts.chat.template_text`, which cannot be imported
    here without SeqIO.
    """
    path = Path(chat_template).expanduser()
    if chat_template == "tokenizer":
        own = Path(tokenizer)
        if not own.exists():
            own = _downloaded(tokenizer, "tokenizer.json") or own
        folder = own if own.is_dir() else own.parent
        path = folder / "chat_template.jinja"
        path = path if path.is_file() else folder / "tokenizer_config.json"
    if not path.is_file():
        raise StoreError(
            f"chat template {chat_template!r}: there is no {path}; it is 'none', 'tokenizer' (whose folder "
            "must hold one) or a file with Jinja text"
        )
    return path


def _downloaded(hub_name: str, file: str) -> Path | None:
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        found = try_to_load_from_cache(hub_name, file)
    except HFValidationError:  # a path that does not exist is no hub name
        return None
    return Path(found) if isinstance(found, str) else None


def digest_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32] if path.is_file() else _MISSING


def digest_folder(folder: Path) -> str:
    """Digest of the names, sizes, beginnings and ends of all files of a folder; empty without one."""
    if not folder.is_dir():
        return _MISSING
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(file.read(_BLOCK))
            if size > _BLOCK:
                file.seek(max(_BLOCK, size - _BLOCK))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()[:32]


def digests(paths: Iterable[str]) -> dict[str, str]:
    """{path: digest} of files and folders; of what is not on this machine the digest is empty."""
    return {
        path: digest_folder(Path(path)) if Path(path).is_dir() else digest_file(Path(path)) for path in paths
    }


def code_sources(modules: Sequence[str], tasks: Iterable[str]) -> dict[str, str]:
    """Digests of the modules that register the tasks, and of the templates these tasks use.

    Returns:
      {"code:<package>/<file>": digest}; of a single-file module just that file.
    """
    names, found = tuple(tasks), {}
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
            unused = file.suffix == ".yaml" and not any(f"_{file.stem}_" in name for name in names)
            if not unused and not inside.startswith(_WITHOUT_INFLUENCE):
                found[f"code:{package.name}/{inside}"] = digest_file(file)
    return found


def raw_sources(raw_dir: Path, folders: Iterable[str]) -> dict[str, str]:
    """{"raw:<folder>": digest}."""
    return {f"raw:{folder}": digest_folder(raw_dir / folder) for folder in sorted(set(folders))}


class OpenedFolders:
    """Notes which folders of `raw_dir` are read inside a ``with`` block: a task may read more than its own.

    Python reports every file it opens to audit hooks; one hook serves all blocks and idles between them.
    """

    _active: ClassVar[list[OpenedFolders]] = []
    _hooked: ClassVar[bool] = False

    def __init__(self, raw_dir: Path, *, ignore: Path) -> None:
        self._raw_dir = _plain(raw_dir) + os.sep
        self._ignore = _plain(ignore) + os.sep  # what is being written, should it lie in raw_dir
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
        if path.startswith(self._raw_dir) and not path.startswith(self._ignore):
            folder, separator, _ = path[len(self._raw_dir) :].partition(os.sep)
            if separator:
                self.folders.add(folder)


def _plain(path: Path) -> str:
    """Absolute and without `..`, but with links as they are: a dataset's folder may be a link."""
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
    """What separates a store from what is asked for now, one readable line each; empty when nothing does."""
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
    now = code_sources(modules, names)
    folders = [key.removeprefix("raw:") for key in sources if key.startswith("raw:")]
    present = raw_sources(raw_dir, folders) if raw_dir.is_dir() else {}
    now |= {key: digest for key, digest in present.items() if digest != _MISSING}
    # Code that is gone altogether (a training host without the package) is passed over like raw files.
    packages = {key.partition("/")[0] for key in now}
    for key in sorted({*now, *sources}):
        kind, _, name = key.partition(":")
        if key not in now:
            if kind == "code" and key.partition("/")[0] in packages:
                found.append(f"{name} does not exist any more")
        elif key not in sources or sources[key] == _MISSING:
            found.append(f"{name} has been added since")
        elif now[key] != sources[key]:
            found.append(f"{'the files in ' if kind == 'raw' else ''}{name} changed since")
    return found
