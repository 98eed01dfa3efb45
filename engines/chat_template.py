"""Chat templates as Hugging Face writes them: Jinja in a sandbox, compiled once. A request can never bring one."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from engines.errors import InvalidInputError, ModelLoadError

MOST_CHARACTERS = 1 << 24
"""Of a rendered prompt, and of a text that a template may make by multiplying."""
_MOST_POWER = 64


class ChatTemplate:
    """One compiled template; threads share it. `name` is for messages. Raises `ModelLoadError`.

    `knows_tools`: does it show tools to the model itself?
    """

    def __init__(self, source: str, name: str, now: Callable[[], datetime] = datetime.now) -> None:
        self._name = name
        environment = _Environment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _GenerationTag]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = lambda form: now().strftime(form)
        try:
            names = meta.find_undeclared_variables(environment.parse(source))
            self._template = environment.from_string(source)
        except (TemplateError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            where = f", line {line}" if line else ""
            raise ModelLoadError(
                f"the chat template in {name}{where} does not compile: {error.args[0]}; mend it"
            ) from error
        self.knows_tools = "tools" in names

    def render(self, variables: Mapping[str, object]) -> str:
        """The prompt. Raises `InvalidInputError` with what the template says, or what it failed of."""
        parts: list[str] = []
        size = 0
        try:
            for part in self._template.generate(variables):
                parts.append(part)
                size += len(part)
                if size > MOST_CHARACTERS:
                    raise InvalidInputError(f"the chat is longer than {MOST_CHARACTERS} characters; shorten it")
        except InvalidInputError:
            raise
        except Exception as error:  # whatever an expression of the template may raise
            raise InvalidInputError(
                f"the model's chat template ({self._name}) cannot show this chat: {error}"
            ) from None
        return "".join(parts)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, which also bounds what `*` and `**` make; ranges have at most `MAX_RANGE` steps already."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not (abs(left) <= MOST_CHARACTERS and abs(right) <= _MOST_POWER):
            raise SecurityError(f"{left!r} ** {right!r} is too large")
        if operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, str | Sequence) and isinstance(times, int) and len(many) * times > MOST_CHARACTERS:
                    raise SecurityError(f"a text or list of {len(many)} times {times} is too long")
        return super().call_binop(context, operator, left, right)


class _GenerationTag(Extension):
    """`{% generation %}` marks what the model wrote, for training; here it only passes its content on."""

    tags = {"generation"}  # noqa: RUF012 (declared so by jinja2)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As Hugging Face's filter: no HTML escapes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: object) -> NoReturn:
    raise InvalidInputError(f"the model's chat template refuses this chat: {message}")


def template_sources(chosen: object, name: str) -> Iterator[tuple[str, str]]:
    """Pairs of a template's name and source, of a `chat_template` entry: a text, or a list of named ones."""
    if isinstance(chosen, str):
        yield "default", chosen
    elif isinstance(chosen, list) and all(isinstance(entry, dict) for entry in chosen):
        yield from ((str(entry.get("name")), str(entry.get("template"))) for entry in chosen)
    elif chosen is not None:
        raise ModelLoadError(f"chat_template in {name} is neither a text nor a list of named ones; mend it")
