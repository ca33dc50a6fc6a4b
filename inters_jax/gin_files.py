"""Gin files: where they are found, and what stands in them, statement by statement with file and line."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import math
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gin import config_parser

from seqio_tasks.base import UserError, nearest


class ConfigError(UserError):
    """A gin file or an override that is wrong: says where, what, and the nearest name that exists."""


@dataclasses.dataclass(frozen=True)
class Statement:
    """``scope/selector.argument = value``; `argument` is empty for a macro (``NAME = value``).

    value: gin text that evaluates to the value.
    macros, references: the names in the value: ``%NAME`` and ``@NAME``.
    where: file and line, or the command-line argument.
    typed: whether it comes from the command line.
    """

    scope: str
    selector: str
    argument: str
    value: str
    macros: frozenset[str]
    references: frozenset[str]
    where: str
    typed: bool = False

    @property
    def target(self) -> str:
        """What is set, as it is written."""
        scope = f"{self.scope}/" if self.scope else ""
        return f"{scope}{self.selector}" + (f".{self.argument}" if self.argument else "")


def search_paths(extra: Iterable[str] = ()) -> list[Path]:
    """The folders in which gin files are looked up, first match first."""
    package = Path(__file__).resolve().parent
    found: list[Path] = []
    for folder in (
        *(Path(path).expanduser().absolute() for path in extra),
        Path.cwd(),
        Path.cwd() / "gin",
        package.parent / "gin",
        package / "gin_configs",
    ):
        # An installed package has site-packages as its parent, and site-packages/gin is gin-config itself.
        is_gin_config = (folder / "__init__.py").exists() and folder.name == "gin"
        if folder.is_dir() and not is_gin_config and folder not in found:
            found.append(folder)
    return found


def find_file(name: str, paths: Sequence[Path]) -> Path:
    """The first `name` on the search path (or `name` itself when absolute).

    Raises:
      ConfigError: there is none; names the nearest file of the same kind (gin, or a list of experiments).
    """
    path = Path(name).expanduser()
    for candidate in [path] if path.is_absolute() else [folder / path for folder in paths]:
        if candidate.is_file():
            return candidate
    kind = path.suffix or ".gin"
    near = nearest(name, known_files(paths, kind))
    raise ConfigError(
        f"{kind.lstrip('.')} file {name!r} not found in {', '.join(map(str, paths))}{near}; "
        "name an existing file or add its folder with --gin_search_paths=FOLDER"
    )


def known_files(paths: Iterable[Path], suffix: str = ".gin") -> set[str]:
    """The files of the folders and one level below: a working directory may be huge, so no deep walk."""
    return {
        str(file.relative_to(folder))
        for folder in paths
        for file in (*folder.glob(f"*{suffix}"), *folder.glob(f"*/*{suffix}"))
    }


def read_file(name: str, paths: Sequence[Path]) -> Iterator[Statement]:
    """The statements of a file and of those it includes, in order; its imports are done."""
    yield from _read(find_file(name, paths), paths, ())


def read_override(argument: str, name: str, value: str) -> Statement:
    """The statement of ``--gin.NAME=VALUE``; `argument` is how it was typed."""
    statements = list(_statements(f"{name} = {gin_value(value)}", argument))
    if len(statements) != 1 or not isinstance(statements[0][0], config_parser.BindingStatement):
        raise ConfigError(f"{argument}: not a setting; write --gin.NAME=VALUE")
    return _statement(statements[0][0], argument, typed=True)


def _read(file: Path, paths: Sequence[Path], above: tuple[Path, ...]) -> Iterator[Statement]:
    if file in above:
        raise ConfigError(f"{file} includes itself, by way of {', '.join(map(str, above))}")
    try:
        text = file.read_text(encoding="utf-8-sig")  # editors on Windows begin a file with a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    for statement, line in _statements(text, str(file)):
        where = f"{file}:{line}"
        if isinstance(statement, config_parser.IncludeStatement):
            try:
                included = find_file(statement.filename, paths)
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from error
            yield from _read(included, paths, (*above, file))
        elif isinstance(statement, config_parser.ImportStatement):
            _import(statement.module, where)
        elif isinstance(statement, config_parser.BindingStatement):
            yield _statement(statement, where)


def _import(module: str, where: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"{where}: import {module}: {error}; install it, or correct the name") from error
    except Exception as error:  # whatever the module does when it is imported
        raise ConfigError(f"{where}: import {module}: {type(error).__name__}: {error}") from error


def _statements(text: str, where: str) -> Iterator[tuple[Any, int]]:
    """The parsed statements with their lines; a syntax error is a `ConfigError`."""
    try:
        for statement in config_parser.ConfigParser(text, _Names()):
            yield statement, statement.location.line_num
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno and not where.startswith("--") else ""
        raise ConfigError(
            f"{where}{line}: cannot read {(error.text or '').strip()!r}: a value is a Python literal, "
            "@NAME() or %NAME; text values need quotes"
        ) from error
    except (ValueError, tokenize.TokenError) as error:
        raise ConfigError(f"{where}: {error}") from error
    except (RecursionError, MemoryError) as error:
        raise ConfigError(f"{where}: a value is nested too deeply") from error


class _Name:
    """A ``%MACRO`` or ``@reference`` in a value; its representation is gin text again."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Name) and other.text == self.text


class _Names(config_parser.ParserDelegate):
    """Keeps references and macros of a value as names."""

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> _Name:
        return _Name(f"@{scoped_configurable_name}" + ("()" if evaluate else ""))

    def macro(self, macro_name: str) -> _Name:
        return _Name(f"%{macro_name}")


def _statement(parsed: config_parser.BindingStatement, where: str, typed: bool = False) -> Statement:
    if any(number in (math.inf, -math.inf) for number in _leaves(parsed.value) if isinstance(number, float)):
        raise ConfigError(f"{where}: a number is too large: the largest that can be written is 1.7e308")
    names = [leaf for leaf in _leaves(parsed.value) if isinstance(leaf, _Name)]
    return Statement(
        scope=parsed.scope or "",
        selector=parsed.selector,
        argument=parsed.arg_name or "",
        value=repr(parsed.value),
        macros=frozenset(name.text[1:] for name in names if name.text.startswith("%")),
        references=frozenset(
            name.text[1:].removesuffix("()").rpartition("/")[2] for name in names if name.text.startswith("@")
        ),
        where=where,
        typed=typed,
    )


def _leaves(value: Any) -> Iterator[Any]:
    """What stands in a value, within all its brackets."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (*_leaves(key), *_leaves(item))
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def gin_value(text: str) -> str:
    """The text of an override as a gin value; what is no literal, reference or macro becomes a string.

    >>> [gin_value(text) for text in ["1e-5", "True", "fsdp=-1", "'a b'", "%SEED", "a,b", "[1, 2]", "-1"]]
    ['1e-5', 'True', "'fsdp=-1'", "'a b'", '%SEED', "'a,b'", '[1, 2]', '-1']
    """
    stripped = text.strip()
    if stripped[:1] in ("@", "%"):
        return stripped
    try:
        value = ast.literal_eval(stripped)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        holds_references = stripped[:1] in ("[", "(", "{") and ("@" in stripped or "%" in stripped)
        return stripped if holds_references else repr(text)
    # Python reads `1, 2` as a tuple, gin needs the brackets.
    return f"({stripped})" if isinstance(value, tuple) and not stripped.startswith("(") else stripped
