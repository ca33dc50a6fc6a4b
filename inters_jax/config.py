"""From gin files and ``--gin.NAME=VALUE`` to the groups of settings that a command takes.

A name in capitals is a setting (``BATCH_SIZE``) of the groups that the command reads
(`inters_jax.settings.commands`), or a macro that some value refers to (``WIDTH`` in ``%WIDTH``). Later
statements win over earlier ones, files come in the order given, and the command line comes last.

    BATCH_SIZE = 4               every command that reads BATCH_SIZE
    evaluate.max_length = 1024   `evaluate` alone: one recipe serves several commands
    StepSettings.batch_size = 4  the same setting as T5X users write it
    OPTIMIZER = @Lion()          an object, and
    Lion.b2 = 0.95               a field of it

A recipe may hold settings of other commands: they are left to those. What is typed on the command line must
be read by this one. A name that no command knows is refused with the nearest one.

Nothing here imports TensorFlow or JAX; the module of an object (`Lion`) is imported when it is used.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gin

from inters_jax.gin_files import ConfigError, Statement, read_file, read_override
from inters_jax.settings.commands import COMMANDS, readers, settings_of_command
from inters_jax.settings.fields import Setting, settings_of
from seqio_tasks.base import UserError, nearest


def load(
    command: str, files: Sequence[str], overrides: Sequence[tuple[str, str, str]], paths: Sequence[Path]
) -> list[Any]:
    """The groups of settings of a command, in its order.

    Args:
      command: a key of `COMMANDS`.
      files: gin files by name.
      overrides: (as typed, NAME, VALUE) of the command line.
      paths: folders in which files are looked up.

    Raises:
      ConfigError: a file, name or value that is wrong, with its place.
    """
    statements = [statement for name in files for statement in read_file(name, paths)]
    statements += [read_override(*override) for override in overrides]
    return _Configuration(command, statements).groups()


def call(command: Callable[..., Any], **values: Any) -> Any:
    """Call a command from Python with settings by their names: ``call(train, model=..., batch_size=4)``.

    Raises:
      ConfigError: a name that the command does not read.
      SettingError: a value that its setting does not accept.
    """
    groups = COMMANDS[command.__name__]
    known = {one.field: one for group in groups for one in settings_of(group)}
    for name in values:
        if name not in known:
            raise ConfigError(f"{command.__name__} reads no setting {name!r}{nearest(name, known)}")
    for name, one in known.items():
        if one.required and name not in values:
            raise ConfigError(_without_value(one))
    return command(
        *(
            group(**{one.field: values[one.field] for one in settings_of(group) if one.field in values})
            for group in groups
        )
    )


def _without_value(setting: Setting) -> str:
    return f"{setting.name} has no value; set it with --gin.{setting.name}=... or in a --gin_file"


class _Configuration:
    """The statements of one command, sorted by what they are for."""

    def __init__(self, command: str, statements: Iterable[Statement]) -> None:
        self.command = command
        self.settings = settings_of_command(command)
        self.given: dict[str, Statement] = {}  # settings of this command
        self.macros: dict[str, Statement] = {}  # every other name in capitals
        self.bindings: dict[tuple[str, str, str], Statement] = {}  # fields of objects
        self.group_names = {group.__name__ for groups in COMMANDS.values() for group in groups}
        for statement in statements:
            self._sort(statement)

    def _sort(self, statement: Statement) -> None:
        selector = statement.selector.rpartition(".")[2]
        if not statement.argument:
            if statement.target in self.settings:
                self.given[statement.target] = statement
            else:
                self.macros[statement.target] = statement
        elif selector in COMMANDS or selector in self.group_names:
            self._sort_setting(selector, statement)
        else:
            self.bindings[statement.scope, statement.selector, statement.argument] = statement

    def _sort_setting(self, owner: str, statement: Statement) -> None:
        """``train.batch_size = 4`` or ``StepSettings.batch_size = 4``."""
        groups = COMMANDS[owner] if owner in COMMANDS else [self._group(owner)]
        known = {one.field: one.name for group in groups for one in settings_of(group)}
        if statement.scope:
            raise ConfigError(
                f"{statement.where}: settings have no scope; write {owner}.{statement.argument}"
            )
        if statement.argument not in known:
            near = nearest(statement.argument, known)
            raise ConfigError(f"{statement.where}: {owner} has no setting {statement.argument!r}{near}")
        if owner == self.command or (owner not in COMMANDS and groups[0] in COMMANDS[self.command]):
            self.given[known[statement.argument]] = statement
        elif statement.typed:
            raise ConfigError(f"{statement.where}: {self.command} does not read the settings of {owner}")

    def _group(self, name: str) -> type:
        return next(group for groups in COMMANDS.values() for group in groups if group.__name__ == name)

    def groups(self) -> list[Any]:
        """The checked groups."""
        for one in self.settings.values():
            if one.required and one.name not in self.given:
                self._check_names()  # a misspelt name is the likelier mistake
                raise ConfigError(f"{self.command}: {_without_value(one)}")
        self._check_names()
        used = dict(self._used())
        self._import_objects(used.values())
        gin.clear_config()
        # Group names may be those of third-party configurables too: ours are told apart by their module.
        lines = [f"{target} = {statement.value}" for target, statement in used.items()]
        lines += self._object_lines(used.values())
        try:
            gin.parse_config("\n".join(lines))
        except Exception as error:
            raise ConfigError(f"{self.command}: {_plain(error)}") from error
        return [self._made(group) for group in COMMANDS[self.command]]

    def _made(self, group: type) -> Any:
        try:
            return gin.get_configurable(group)()
        except UserError as error:
            raise ConfigError(f"{self._place(error)}{_plain(error)}") from error

    def _place(self, error: UserError) -> str:
        """The file and line of the value that an error is about; "" when it was typed, or is a default."""
        statements = [self.given[name] for name in [getattr(error, "name", "")] if name in self.given]
        statements += [binding for binding in self.bindings.values() if binding.target in str(error)]
        return next((f"{one.where}: " for one in statements if not one.typed), "")

    def _used(self) -> Iterator[tuple[str, Statement]]:
        """gin targets and what they are set to: settings, objects by default, and the macros they need."""
        values: list[Statement] = []
        for name, setting in self.settings.items():
            statement = self.given.get(name)
            if statement is None and setting.meaning.default_object is not None:
                default = setting.meaning.default_object
                names = frozenset({default.strip("@()")})
                statement = Statement("", name, "", default, frozenset(), names, f"default of {name}")
            if statement is not None:
                values.append(statement)
                yield f"inters_jax.{setting.group.__name__}.{setting.field}", statement
        needed: dict[str, Statement] = {}
        while values:
            statement = values.pop()
            values += self._bindings_of(statement)
            self._check_circle(statement)
            for name in statement.macros:
                if name not in needed:
                    needed[name] = self._macro(name, statement.where)
                    values.append(needed[name])
        yield from needed.items()

    def _check_circle(self, statement: Statement) -> None:
        """Refuse a value that needs itself."""
        names = set(statement.macros)
        seen: set[str] = set()
        while names:
            name = names.pop()
            if name in seen:
                continue
            seen.add(name)
            found = self._macro(name, statement.where)
            if found is statement:
                raise ConfigError(f"{statement.where}: {statement.target} refers to itself by %{name}")
            names |= found.macros

    def _macro(self, name: str, where: str) -> Statement:
        found = self.given.get(name) or self.macros.get(name)
        if found is not None:
            return found
        setting = self.settings.get(name)
        if setting is not None and not setting.required:
            return Statement("", name, "", repr(setting.default), frozenset(), frozenset(), where)
        near = nearest(name, [*self.given, *self.macros, *self.settings])
        raise ConfigError(f"{where}: %{name} is used but never set{near}; set it with --gin.{name}=...")

    def _bindings_of(self, statement: Statement) -> list[Statement]:
        return [
            binding
            for (_, selector, _), binding in self.bindings.items()
            if selector.rpartition(".")[2] in {name.rpartition(".")[2] for name in statement.references}
        ]

    def _import_objects(self, used: Iterable[Statement]) -> None:
        modules = self._modules()
        for statement in used:
            for name in statement.references:
                if name in modules:
                    importlib.import_module(modules[name])
                    continue
                try:
                    gin.get_configurable(name)
                except (KeyError, ValueError):
                    near = nearest(name, modules)
                    raise ConfigError(
                        f"{statement.where}: @{name} is not known{near}; `import its.module` in the gin file "
                        "registers a class of your own"
                    ) from None

    def _modules(self) -> dict[str, str]:
        """Object class -> its module."""
        return {
            name: module
            for setting in self.settings.values()
            for name, module in setting.meaning.objects.items()
        }

    def _object_lines(self, used: Iterable[Statement]) -> list[str]:
        """The bindings of the objects that are used; their arguments are checked."""
        lines = []
        for binding in dict.fromkeys(b for statement in used for b in self._bindings_of(statement)):
            known = _parameters(binding.selector, self._modules())
            if known and binding.argument not in known:
                near = nearest(binding.argument, known)
                raise ConfigError(
                    f"{binding.where}: {binding.selector} has no field {binding.argument!r}{near}"
                )
            lines.append(f"{binding.target} = {binding.value}")
        return lines

    def _check_names(self) -> None:
        """Refuse what nothing reads, and what is typed and not read by this command."""
        referenced = {name for statement in self._all() for name in statement.macros}
        for name, statement in self.macros.items():
            if name in referenced:
                continue
            others = readers(name)
            if others and not statement.typed:
                continue
            near = nearest(name, self.settings)
            if others:
                raise ConfigError(
                    f"{statement.where}: {self.command} does not read {name}, a setting of "
                    f"{', '.join(others)}{near}"
                )
            raise ConfigError(f"{statement.where}: {name} is set but nothing uses it{near}")
        mine = self._objects([self.command])
        others_objects = self._objects(COMMANDS)
        referenced = {
            name.rpartition(".")[2]
            for statement in (*self._all(), *self._defaults())
            for name in statement.references
        }
        here = {name.rpartition(".")[2] for _, one in self._used() for name in one.references}
        for binding in self.bindings.values():
            name = binding.selector.rpartition(".")[2]
            if name in (here if binding.typed else referenced):
                continue
            if name in others_objects:
                if binding.typed:
                    of = f"set {mine[name]}=@{name}()" if name in mine else f"{self.command} does not read it"
                    raise ConfigError(f"{binding.where}: no setting refers to @{name}(); {of}")
                continue
            known = [*others_objects, *COMMANDS, *self.group_names]
            raise ConfigError(
                f"{binding.where}: nothing is called {binding.selector!r}{nearest(name, known)}"
            )

    def _objects(self, commands: Iterable[str]) -> dict[str, str]:
        """Object class -> the setting that takes it."""
        return {
            name: setting.name
            for command in commands
            for setting in settings_of_command(command).values()
            for name in setting.meaning.objects
        }

    def _defaults(self) -> Iterator[Statement]:
        for setting in self.settings.values():
            if (default := setting.meaning.default_object) and setting.name not in self.given:
                names = frozenset({default.strip("@()")})
                yield Statement("", setting.name, "", default, frozenset(), names, "")

    def _all(self) -> Iterator[Statement]:
        yield from self.given.values()
        yield from self.macros.values()
        yield from self.bindings.values()


def _parameters(selector: str, modules: Mapping[str, str]) -> list[str]:
    """The parameters of a registered class or function; none where any name is accepted."""
    name = selector.rpartition(".")[2]
    made = getattr(importlib.import_module(modules[name]), name) if name in modules else None
    found = inspect.signature(made or inspect.unwrap(gin.get_configurable(selector))).parameters.values()
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in found):
        return []
    return [parameter.name for parameter in found]


def _plain(error: Exception) -> str:
    """The message without what gin appends about its calls."""
    return str(error).partition("\n  In ")[0]


def values_of(*groups: Any) -> dict[str, Any]:
    """Every setting of some groups by its name."""
    return {one.name: getattr(group, one.field) for group in groups for one in settings_of(type(group))}


def operative_text(command: str, groups: Sequence[Any]) -> str:
    """Every setting in force as gin text that can be read back with --gin_file.

    Objects are written with all their fields: ``OPTIMIZER = @AdamW()``, ``AdamW.b1 = 0.9``.
    """
    lines = [f"# Every setting of python -m inters_jax.{command} in force."]
    objects: dict[str, Mapping[str, Any]] = {}
    for group in groups:
        lines += ["", f"# {type(group).__name__}"]
        for one in settings_of(type(group)):
            value = getattr(group, one.field)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                objects[type(value).__name__] = {
                    field.name: getattr(value, field.name) for field in dataclasses.fields(value)
                }
                lines.append(f"{one.name} = @{type(value).__name__}()")
            else:
                lines.append(f"{one.name} = {value!r}")
    for name, fields in objects.items():
        lines += ["", *(f"{name}.{field} = {value!r}" for field, value in fields.items())]
    return "\n".join(lines) + "\n"
