"""What every command does with its command line.

    if __name__ == "__main__":
        run_command(train)

``python -m inters_jax.train --gin_file=FILE --gin.NAME=VALUE`` calls ``train`` with its groups of settings
(`inters_jax.config`); ``--help`` prints them. VALUE is a gin value, and what is none is text, so quotes are
optional: ``--gin.MODEL=mistralai/Mistral-7B-v0.1``.

A setting that is a URL (``gs://bucket/run``) reaches the command as a local folder: `inters_jax.paths`.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inters_jax import config, paths, terminal
from inters_jax.gin_files import ConfigError, known_files, search_paths
from inters_jax.settings.commands import COMMANDS, settings_of_command
from seqio_tasks.base import nearest
from seqio_tasks.expected_errors import one_line


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """The parsed arguments of a command; `overrides` are (as typed, NAME, VALUE)."""

    files: tuple[str, ...]
    overrides: tuple[tuple[str, str, str], ...]
    search_paths: tuple[str, ...]
    help: bool


def parse_arguments(argv: Sequence[str]) -> CommandLine:
    """Read ``--gin_file``, ``--gin.NAME=VALUE``, ``--gin_search_paths`` and ``--help``.

    >>> parse_arguments(["--gin_file=tiny.gin", "--gin.SEED=3"]).overrides
    (('--gin.SEED=3', 'SEED', '3'),)
    """
    files: list[str] = []
    overrides: list[tuple[str, str, str]] = []
    folders: list[str] = []
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
            if flag == "--gin_file":
                files.append(value)
            else:
                folders.extend(value.split(","))
        elif flag.startswith("--gin.") and separator:
            overrides.append((argument, flag.removeprefix("--gin."), value))
        elif flag.startswith("--gin."):
            raise ConfigError(f"{argument} has no value; write {argument}=VALUE")
        else:
            hint = nearest(flag, ["--gin_file", "--gin_search_paths", "--help"])
            upper = flag.lstrip("-").upper().replace("-", "_")
            raise ConfigError(f"unknown argument {argument!r}{hint}; settings are given as --gin.{upper}=...")
    return CommandLine(tuple(files), tuple(overrides), tuple(folders), wants_help)


def run_command(function: Callable[..., Any], argv: Sequence[str] | None = None) -> Any:
    """Call a command with the settings of the command line; returns what it returns.

    An error that the user can put right (`UserError`), a file that the system refuses and a device without
    room end the command with one line; set INTERS_TRACEBACK=1 to see where it was raised.
    """
    command = function.__name__
    terminal.never_wait()
    with one_line(command):
        line = parse_arguments(sys.argv[1:] if argv is None else argv)
        folders = search_paths(line.search_paths)
        if line.help:
            print(help_text(command, function, folders))
            return None
        groups = config.load(command, line.files, line.overrides, folders)
        with paths.mirrors() as mirrored:
            return function(*(_at_mirrors(group, mirrored) for group in groups))


def _at_mirrors(group: Any, mirrored: Callable[[Any], Any]) -> Any:
    """The group with its URLs replaced by the local folders that mirror them."""
    changed = {
        field.name: mirror
        for field in dataclasses.fields(group)
        if (mirror := mirrored(value := getattr(group, field.name))) is not value
    }
    return dataclasses.replace(group, **changed) if changed else group


def help_text(command: str, function: Callable[..., Any], folders: Sequence[Path]) -> str:
    """What ``--help`` prints: the docstring, the settings by group, and the gin files found."""
    lines = [
        f"usage: python -m inters_jax.{command} [--gin_file=FILE ...] [--gin.NAME=VALUE ...]",
        "",
        inspect.getdoc(function) or "",
    ]
    for group in COMMANDS[command]:
        lines += ["", inspect.getdoc(group) or ""]
        for one in settings_of_command(command).values():
            if one.group is not group:
                continue
            default = one.meaning.default_object or ("required" if one.required else repr(one.default))
            lines += [
                f"  --gin.{one.name}=  ({default})",
                f"      {one.meaning.help}",
                f"      {one.type_text}",
            ]
    lines += ["", "Gin files:", "  " + ", ".join(sorted(known_files(folders)))]
    return "\n".join(lines)
