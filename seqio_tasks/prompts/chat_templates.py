"""Rendering of chat templates: in Jinja's sandbox, with the helpers that templates may use, and in bounds.

A template is a program from the same place as the weights. The sandbox keeps it from files and modules; the
bounds here keep it from never ending and from filling the memory: so many rounds of loops and macros, and so
long texts, lists and numbers. Templates of released models stay far below all of them.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from seqio_tasks.base import DataError, MissingData

ROUNDS = 20_000  # of loops and macros in one rendering
SIZE = 100_000  # characters of a text, or elements of a list
NUMBER = 1_000_000  # largest number that a function is given, such as the width of a text
BITS = 10_000  # of a computed number

_WIDE = re.compile(r"\d{6,}")  # a width in a format, such as "%1000000d"


def render(text: str, messages: Sequence[dict[str, str]], names: dict[str, str], **options: Any) -> str:
    """A template rendered for messages.

    Args:
      text: of the template.
      messages: role and content.
      names: of control tokens, by `bos_token` and the like.
      options: further variables of the template.

    Raises:
      DataError: the template cannot be rendered.
    """
    try:
        import jinja2  # noqa: F401  (an optional dependency)
    except ImportError as error:
        raise MissingData("chat templates need the package jinja2", todo="pip install jinja2") from error
    environment = _environment()
    environment.rounds = 0
    try:
        template = environment.from_string(text)
        written: str = template.render(
            messages=list(messages), tools=None, documents=None, **names, **options
        )
    except Exception as error:  # whatever the program in the template raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"the chat template cannot be rendered: {reason}") from error
    return written


@functools.cache
def _environment() -> Any:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
    from jinja2.visitor import NodeTransformer

    class GenerationBlock(Extension):
        """`{% generation %}`, which marks the assistant's text for training; it renders as its content."""

        tags = {"generation"}  # noqa: RUF012 (Jinja expects a set)

        def parse(self, parser: Any) -> list[nodes.Node]:
            next(parser.stream)
            body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return body

    class Counted(NodeTransformer):
        """Calls `BoundedEnvironment.round` in every loop and macro, and `joined` in place of ``~``."""

        def visit_For(self, node: Any) -> Any:
            self.generic_visit(node)
            node.body.insert(0, nodes.ExprStmt(_called("round", [], node.lineno), lineno=node.lineno))
            return node

        visit_Macro = visit_CallBlock = visit_For

        def visit_Concat(self, node: Any) -> Any:
            self.generic_visit(node)
            parts = nodes.Tuple(node.nodes, "load", lineno=node.lineno)
            return _called("joined", [parts], node.lineno)

    def _called(name: str, arguments: list[Any], line: int) -> Any:
        function = nodes.EnvironmentAttribute(name, lineno=line)
        return nodes.Call(function, arguments, [], None, None, lineno=line)

    class BoundedEnvironment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"+", "*", "**", "%"})
        rounds = 0

        def _parse(self, *source: Any) -> Any:
            return Counted().visit(super()._parse(*source)).set_environment(self)

        def round(self) -> None:
            self.rounds += 1
            if self.rounds > ROUNDS:
                raise SecurityError(f"more than {ROUNDS:,} rounds of its loops")

        def joined(self, parts: Sequence[Any]) -> str:
            return self.concat(map(str, parts))

        @staticmethod
        def concat(parts: Any) -> str:
            found = list(parts)
            if sum(map(len, found)) > SIZE:
                raise SecurityError(f"a text of more than {SIZE:,} characters")
            return "".join(found)

        def call(self, context: Any, function: Any, /, *args: Any, **options: Any) -> Any:
            _check_arguments(args, options)
            owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
            if isinstance(owner, str) and name == "replace":
                function = functools.partial(_replace, owner)
            elif isinstance(owner, str) and name == "join":
                function = functools.partial(_join, joiner=owner)
            return _checked(super().call(context, function, *args, **options))

        def wrap_str_format(self, value: Any) -> Any:
            if getattr(value, "__name__", "") in ("format", "format_map") and _WIDE.search(
                str(value.__self__)
            ):
                raise SecurityError(f"a format with a number above {NUMBER:,}")
            return super().wrap_str_format(value)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "%" and isinstance(left, str):
                _check_arguments((left, *(right if isinstance(right, tuple) else (right,))), {})
            elif operator in ("*", "**"):
                _check_product(operator, left, right)
            return _checked(super().call_binop(context, operator, left, right))

    def _check_arguments(args: Sequence[Any], options: dict[str, Any]) -> None:
        for value in (*args, *options.values()):
            if (isinstance(value, int) and abs(value) > NUMBER) or (
                isinstance(value, str) and "%" in value and _WIDE.search(value)
            ):
                raise SecurityError(f"a function with a number above {NUMBER:,}")

    def _check_product(operator: str, left: Any, right: Any) -> None:
        for one, other in ((left, right), (right, left)):
            if hasattr(one, "__len__") and isinstance(other, int) and len(one) * other > SIZE:
                raise SecurityError(f"a text or list of more than {SIZE:,} elements")
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() + right.bit_length()
            if operator == "**":
                bits = left.bit_length() * right
            if bits > BITS:
                raise SecurityError(f"a number of more than {BITS:,} bits")

    def _replace(text: Any, old: Any, new: Any, count: int | None = None) -> str:
        text, old, new = str(text), str(old), str(new)
        if len(text) + text.count(old) * len(new) > SIZE:
            raise SecurityError(f"a text of more than {SIZE:,} characters")
        return text.replace(old, new, -1 if count is None else count)

    def _join(parts: Any, joiner: Any = "", attribute: Any = None) -> str:
        texts = [str(one if attribute is None else environment.getitem(one, attribute)) for one in parts]
        if sum(map(len, texts)) + len(texts) * len(str(joiner)) > SIZE:
            raise SecurityError(f"a text of more than {SIZE:,} characters")
        return str(joiner).join(texts)

    def _checked(value: Any) -> Any:
        if isinstance(value, str | list | tuple) and len(value) > SIZE:
            raise SecurityError(f"a text or list of more than {SIZE:,} elements")
        return value

    def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            _check_arguments(args, options)
            return _checked(function(*args, **options))

        return called

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def now(form: str) -> str:
        # A fixed date makes prompts reproducible; SOURCE_DATE_EPOCH is the common variable for it.
        given = os.environ.get("SOURCE_DATE_EPOCH")
        if given is None:
            return datetime.datetime.now().strftime(form)
        return datetime.datetime.fromtimestamp(int(given), datetime.UTC).strftime(form)

    def to_json(value: Any, indent: int | None = None, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, "indent": indent, **options})

    environment = BoundedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, loopcontrols]
    )
    environment.filters = {name: _bounded(one) for name, one in environment.filters.items()}
    environment.filters |= {"tojson": to_json, "replace": _replace, "join": _join}
    del environment.globals["lipsum"]  # random text of any length
    environment.globals |= {"raise_exception": refuse, "strftime_now": now}
    return environment
