"""Gin for every command: files found by name, overrides in plain text, typos refused with a suggestion.

A command is a plain function ``train(...)``, and its module ends with

    if __name__ == "__main__":
        run_command(train)

``run_command`` makes the function configurable (no decorator is needed) and reads, in this order, so that
the later one wins:

1. ``runs/<command>.gin``: the macros of the command, their defaults, and which argument each one feeds;
2. every ``--gin_file=FILE`` in the order given;
3. every ``--gin.NAME=VALUE``: ``NAME`` is a macro (``MODEL``) or a binding (``train.log_every``); ``VALUE``
   is a gin value, and anything that is not one is a string, so quotes are optional:
   ``--gin.MODEL=mistralai/Mistral-7B-v0.1``.

Files are searched in ``--gin_search_paths``, the working directory, its ``gin/``, the ``gin/`` of the
repository and the copy inside the installed package (``inters_jax/gin_configs``).

The files of a run set macros, and every command reads the ones it knows: one ``mistral.gin`` serves train,
prepare and evaluate. A binding that names another command (``train.log_every`` while preparing) is that
command's business and is passed over; every other unknown name stops the command.

An argument that is a URL (``gs://bucket/run``) reaches the command as a local folder: `inters_jax.paths`.

Nothing here imports TensorFlow or JAX.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import gin

from inters_jax.paths import at_urls
from seqio_tasks.base import UserError

_MACRO_LINE = re.compile(r"^(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>[^#]*?)\s*(?:#\s*(?P<comment>.*))?$")
_UNKNOWN_CONFIGURABLE = re.compile(r"No configurable matching (?:reference )?'?@?([\w./]+)")
_UNKNOWN_FILE = re.compile(r"Unable to open file: (.+?)\. Searched")
_UNKNOWN_ARGUMENT = re.compile(r"Configurable '([\w./]+)' doesn't have a parameter named '(\w+)'")

_arguments: list[str] = []


class ConfigError(UserError):
    """A gin file or an override that cannot be meant: says where, what, and the nearest name that exists."""


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """The parsed arguments of a command; `overrides` are gin statements such as ``MODEL = 'tiny'``."""

    files: tuple[str, ...]
    overrides: tuple[str, ...]
    search_paths: tuple[str, ...]
    help: bool


def gin_arguments() -> list[str]:
    """The gin arguments of the running command, to hand on to a subprocess; empty outside `run_command`."""
    return list(_arguments)


def operative_config() -> str:
    """Every value that reached a function of this run, as gin text that can be read back."""
    return gin.operative_config_str(max_line_length=110) + "\n"


def search_paths(extra: Iterable[str] = ()) -> list[Path]:
    """The folders in which gin files are looked up, first match first."""
    package = Path(__file__).resolve().parent
    found: list[Path] = []
    for folder in (
        *(Path(path).absolute() for path in extra),
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
    """The first `name` on the search path (or `name` itself when absolute); otherwise `ConfigError`."""
    candidates = [Path(name)] if Path(name).is_absolute() else [folder / name for folder in paths]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ConfigError(
        f"gin file {name!r} not found in {', '.join(map(str, paths))}{_nearest(name, _known_files(paths))}; "
        "name an existing file or add its folder with --gin_search_paths=FOLDER"
    )


def _known_files(paths: Iterable[Path]) -> set[str]:
    return {str(file.relative_to(folder)) for folder in paths for file in _gin_files(folder)}


def _gin_files(folder: Path) -> list[Path]:
    """Gin files of a folder and one level below: the working directory may be huge, so no deep walk."""
    return [*folder.glob("*.gin"), *folder.glob("*/*.gin")]


def parse_arguments(argv: Sequence[str]) -> CommandLine:
    """Read ``--gin_file``, ``--gin.NAME=VALUE``, ``--gin_search_paths`` and ``--help``.

    >>> parse_arguments(["--gin_file=tiny.gin", "--gin.MODEL=tiny/model", "--gin.SEED=3"]).overrides
    ("MODEL = 'tiny/model'", 'SEED = 3')
    """
    files: list[str] = []
    overrides: list[str] = []
    paths: list[str] = []
    wants_help = False
    rest = list(argv)
    while rest:
        argument = rest.pop(0)
        flag, separator, value = argument.partition("=")
        if argument in ("--help", "-h"):
            wants_help = True
        elif flag in ("--gin_file", "--gin_search_paths"):
            if not separator:
                if not rest:
                    raise ConfigError(f"{flag} needs a value: {flag}=...")
                value = rest.pop(0)
            target = files if flag == "--gin_file" else paths
            target.extend([value] if flag == "--gin_file" else value.split(","))
        elif flag.startswith("--gin.") and separator:
            overrides.append(f"{flag.removeprefix('--gin.')} = {gin_value(value)}")
        elif flag.startswith("--gin."):
            raise ConfigError(f"{argument} has no value; write {argument}=VALUE")
        else:
            hint = _nearest(flag, ["--gin_file", "--gin_search_paths", "--help"])
            upper = flag.lstrip("-").upper().replace("-", "_")
            raise ConfigError(f"unknown argument {argument!r}{hint}; values are set so: --gin.{upper}=...")
    return CommandLine(tuple(files), tuple(overrides), tuple(paths), wants_help)


def gin_value(text: str) -> str:
    """The text of an override as a gin value; what is no literal, reference or macro becomes a string.

    >>> [gin_value(text) for text in ["1e-5", "True", "fsdp=-1", "'a b'", "%SEED", "a,b", "[1, 2]", "-1"]]
    ['1e-5', 'True', "'fsdp=-1'", "'a b'", '%SEED', "'a,b'", '[1, 2]', '-1']
    """
    stripped = text.strip()
    if stripped[:1] in ("@", "%"):
        return stripped
    try:
        ast.literal_eval(stripped)
    except (ValueError, SyntaxError):
        holds_references = stripped[:1] in ("[", "(", "{") and ("@" in stripped or "%" in stripped)
        return stripped if holds_references else repr(text)
    # Python reads `1, 2` as a tuple, gin needs the brackets.
    return f"({stripped})" if _is_bare_tuple(stripped) else stripped


def _is_bare_tuple(text: str) -> bool:
    return isinstance(ast.literal_eval(text), tuple) and not text.startswith("(")


def load_config(command: str, line: CommandLine) -> None:
    """Parse the files and overrides of a command into gin's global configuration, then check and lock it."""
    paths = search_paths(line.search_paths)
    gin.clear_config()
    # `include` searches where we do, and files only: gin's reader of packages logs every path it misses.
    gin.config._LOCATION_PREFIXES[:] = [str(folder) for folder in paths]
    gin.config._FILE_READERS[:] = [(open, os.path.isfile)]
    known = commands(paths)
    skip = sorted(known - {command})
    defaults = [f"runs/{command}.gin"] if command in known else []
    for name in (*defaults, *line.files):
        file = find_file(name, paths)
        _explain(str(file), gin.parse_config_file, str(file), skip_unknown=skip)
    for override in line.overrides:
        _explain(f"--gin.{override}", gin.parse_config, override, skip_unknown=skip)
    _check_macros(paths)
    _explain(f"configuration of {command}", gin.finalize)


def _explain(where: str, action: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Run a gin call; an unknown name is raised as `ConfigError` with the nearest existing one."""
    try:
        action(*args, **kwargs)
    except (ValueError, SyntaxError, OSError, ImportError) as error:
        if isinstance(error, ConfigError):
            raise
        message = str(error).strip()
        hint = ""
        if match := _UNKNOWN_ARGUMENT.search(message):
            hint = _nearest(match[2], _parameters(match[1]))
        elif match := _UNKNOWN_CONFIGURABLE.search(message):
            hint = _nearest(match[1], {*_configurables(), *commands(_prefixes())})
        elif match := _UNKNOWN_FILE.search(message):
            hint = _nearest(match[1], _known_files(_prefixes()))
        raise ConfigError(f"{where}: {message}{hint}") from error


def _prefixes() -> list[Path]:
    return [Path(prefix) for prefix in gin.config._LOCATION_PREFIXES]


def _configurables() -> list[str]:
    return [selector.rsplit(".", 1)[-1] for selector in gin.config._REGISTRY._selector_map]


def _parameters(selector: str) -> list[str]:
    configurable = gin.config._REGISTRY.get_match(selector.rsplit("/", 1)[-1])
    if configurable is None:
        return []
    return list(inspect.signature(configurable.wrapped).parameters)


def _check_macros(paths: Sequence[Path]) -> None:
    """Refuse a macro that is set but unknown to every command, used but not set, or required."""
    macro = gin.get_configurable("gin.macro")
    values = {
        scope: parameters["value"]
        for (scope, selector), parameters in gin.config._CONFIG.items()
        if selector == "gin.macro"
    }
    used = {reference.scoped_selector.removesuffix("/gin.macro").removesuffix("/macro")
            for reference in gin.config.iterate_references(gin.config._CONFIG, to=macro)}  # fmt: skip
    known = used | known_macros(paths)
    for name in values:
        if name not in known:
            raise ConfigError(f"{name} is set but nothing uses it{_nearest(name, known)}")
    for name in sorted(used - set(values)):
        raise ConfigError(
            f"%{name} is used but never set{_nearest(name, values)}; set it with --gin.{name}=..."
        )
    for name, value in values.items():
        if getattr(value, "scoped_selector", "") == "gin.REQUIRED/gin.constant":
            raise ConfigError(f"{name} has no value; set it with --gin.{name}=... or in a --gin_file")


def commands(paths: Sequence[Path]) -> set[str]:
    """The names of all commands: each has its ``runs/<name>.gin``."""
    return {file.stem for folder in paths for file in folder.glob("runs/*.gin")}


def known_macros(paths: Sequence[Path]) -> set[str]:
    """The macros that any command defines in its ``runs/*.gin``."""
    runs = {file.name: file for folder in reversed(paths) for file in folder.glob("runs/*.gin")}
    return {name for file in runs.values() for name, _, _ in macro_table(file)}


def macro_table(file: Path) -> list[tuple[str, str, str]]:
    """(name, default, comment) of every macro line of a gin file, in order."""
    matches = map(_MACRO_LINE.match, file.read_text(encoding="utf-8").splitlines())
    return [(match["name"], match["value"], match["comment"] or "") for match in matches if match]


def _nearest(name: str, candidates: Iterable[str]) -> str:
    """``; did you mean X?`` for the closest candidates, ignoring case; empty when nothing is near."""
    by_folded = {candidate.casefold(): candidate for candidate in sorted(candidates)}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(by_folded[folded] for folded in close)}?" if close else ""


def help_text(command: str, function: Callable[..., Any], paths: Sequence[Path]) -> str:
    """What ``--help`` prints: the docstring, the macros with their defaults, and the gin files found."""
    lines = [f"usage: python -m inters_jax.{command} [--gin_file=FILE ...] [--gin.NAME=VALUE ...]", ""]
    lines += [
        inspect.getdoc(function) or "",
        "",
        "Names (default) to set with --gin.NAME=VALUE or in a gin file:",
    ]
    try:
        table = macro_table(find_file(f"runs/{command}.gin", paths))
    except ConfigError:
        table = []
    for name, value, comment in table:
        shown = "required" if value == "%gin.REQUIRED" else value
        lines.append(f"  {name:<22} {'(' + shown + ')':<18} {comment}")
    lines += ["", f"Arguments of {command}, for --gin.{command}.NAME=VALUE:"]
    lines.append("  " + ", ".join(inspect.signature(function).parameters))
    lines += ["", "Gin files:"]
    lines.append("  " + ", ".join(sorted(_known_files(paths))))
    return "\n".join(lines)


def _make_configurable(function: Callable[..., Any]) -> tuple[str, Callable[..., Any]]:
    """Register the command under its own name, once; returns the name and the function gin fills in."""
    name = function.__name__
    registered = gin.config._REGISTRY.matching_selectors(name)
    for selector in registered:
        configurable = gin.config._REGISTRY[selector]
        if function in (inspect.unwrap(configurable.wrapped), configurable.wrapper):
            return name, configurable.wrapper
    if registered and function.__module__ == "__main__":
        # `python -m inters_jax.x` runs x as __main__; if x was imported under its own name too, use that one.
        return name, gin.config._REGISTRY[registered[0]].wrapper
    return name, gin.external_configurable(at_urls(function), name=name, module="inters_jax")


def run_command(function: Callable[..., Any], argv: Sequence[str] | None = None) -> Any:
    """Configure `function` from the command line and call it without arguments; returns what it returns.

    An error that is the user's to mend (any exception class of this project) ends the command with its
    message alone; set INTERS_TRACEBACK=1 to see where it was raised.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command, configured = _make_configurable(function)
    plain = inspect.unwrap(function)
    try:
        line = parse_arguments(arguments)
        if line.help:
            print(help_text(command, plain, search_paths(line.search_paths)))
            return None
        load_config(command, line)
        _require_arguments(command, plain)
        _arguments[:] = arguments
        return configured()
    except Exception as error:
        ours = type(error).__module__.partition(".")[0] in ("inters_jax", "seqio_tasks", "__main__")
        if ours and not os.environ.get("INTERS_TRACEBACK"):
            message = str(error).partition("\n  In call to configurable")[0]  # gin names the wrapped function
            raise SystemExit(f"{command}: {message}") from error
        raise
    finally:
        _arguments.clear()


def _require_arguments(command: str, function: Callable[..., Any]) -> None:
    """Name the arguments that have neither a default nor a binding, before anything runs."""
    bound = gin.config._CONFIG.get(("", gin.config._REGISTRY.get_match(command).selector), {})
    for name, parameter in inspect.signature(function).parameters.items():
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not variadic and name not in bound:
            raise ConfigError(f"argument {name!r} has no value; set it with --gin.{command}.{name}=...")
