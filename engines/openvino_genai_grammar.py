"""Grammars in the dialect of xgrammar, the grammar engine within OpenVINO GenAI.

They are written here rather than left to its own reader of JSON schemas, which takes property names as they are, gets
bounds of numbers wrong and ignores what it does not know. JSON comes on one line, with at most a space after , and :
so that no model can go on with white space for ever.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from engines.json_pattern import Chain, Chars, Either, Pattern, Repeat
from engines.json_tree import (
    AnyValue,
    Document,
    Items,
    Literals,
    Members,
    Named,
    Node,
    Number,
    Options,
    Property,
    Text,
)
from engines.text_generator import Grammar, ToolSyntax

Call = tuple[str, Document]
"""A tool that may be called: its name and the schema of its arguments."""

BETWEEN_CALLS = "\n"

_BASE = (
    r'char ::= [^"\\\x00-\x1f\x7f] | "\\" ["\\/bfnrt]',
    r'string ::= "\"" char* "\""',
    r'number ::= "-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})? ([eE] [+-]? [0-9]{1,2})?',
    r'pair ::= string ":" " "? value',
    r'object ::= "{" (pair ("," " "? pair)*)? "}"',
    r'array ::= "[" (value ("," " "? value)*)? "]"',
    r'value ::= object | array | string | number | "true" | "false" | "null"',
)
_PLAIN = r'[^"\\\x00-\x1f\x7f]'
"""A character that JSON writes as it is. Of a string with bounds all are: a rule for each character would be slow."""
_ANY = "value"
_COMMA = '"," " "?'
_COLON = '":" " "?'
_NOTHING = '""'


def quoted(text: str) -> str:
    """`text` as a literal of a grammar.

    A literal ends behind each character that is written as an escape: xgrammar takes hexadecimal digits that follow
    one below U+0100 for a part of it.
    """
    return '"' + "".join(_in_literal(char) for char in text) + '"'


def _in_literal(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isascii() and char.isprintable() else f'\\U{ord(char):08X}" "'


def grammar_of_schema(document: Document) -> str:
    """A grammar of all that fits the schema."""
    rules = _Rules()
    return rules.text(rules.document(document))


def grammar_of_calls(calls: Sequence[Call], syntax: ToolSyntax, grammar: Grammar) -> str:
    """A grammar of calls of tools, among free text or alone, as `grammar` says."""
    rules = _Rules()
    begin = syntax.begin.strip()
    choices = []
    for name, arguments in calls:
        head = f'{syntax.begin.removeprefix(begin)}{{"name": {json.dumps(name)}, "arguments": '
        choices.append(f"{quoted(head)} {rules.document(arguments)} {quoted('}' + syntax.end)}")
    body = rules.add(" | ".join(choices))
    if not grammar.only_calls:
        again = "true" if grammar.many else "false"
        form = f"({quoted(begin)}, {body}), stop_eos=true, stop_str=(), loop_after_dispatch={again}"
        return rules.text(f"TagDispatch({form})")
    call = f"{quoted(begin)} {body}"
    return rules.text(f"{call} ({quoted(BETWEEN_CALLS)} {call})*" if grammar.many else call)


class _Rules:
    """Collects rules; equal ones are written once."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def add(self, body: str) -> str:
        """The name of a rule with this body."""
        return self._names.setdefault(body, f"r{len(self._names)}")

    def text(self, root: str) -> str:
        """The whole grammar."""
        own = (f"{name} ::= {body}" for body, name in self._names.items())
        return "\n".join((f"root ::= {root}", *own, *_BASE)) + "\n"

    def document(self, document: Document) -> str:
        """The rule of a schema."""
        named: dict[str, str] = {}
        for name, node in document.definitions.items():
            named[name] = self.add(self._node(node, named))
        return self.add(self._node(document.root, named))

    def _node(self, node: Node, named: Mapping[str, str]) -> str:
        match node:
            case AnyValue():
                return _ANY
            case Literals(texts):
                return " | ".join(map(quoted, texts))
            case Text(_, _, None):
                return _sized_text(node)
            case Text(_, _, pattern) if pattern is not None:
                return rf'"\"" {_pattern(pattern)} "\""'
            case Number(pattern):
                return _pattern(pattern)
            case Options(options):
                return " | ".join(dict.fromkeys(self.add(self._node(one, named)) for one in options))
            case Named(name):
                return named[name]
            case Items():
                return self._items(node, named)
            case Members(properties, others):
                return self._closed(properties, named) if others is None else self._open(others, named)
        raise AssertionError(node)

    def _items(self, node: Items, named: Mapping[str, str]) -> str:
        if node.most == 0:
            return '"[]"'
        item = self.add(self._node(node.item, named))
        most = None if node.most is None else node.most - 1
        some = f"{item} ({_COMMA} {item}){_times(max(0, node.least - 1), most)}"
        return f'"[" {some} "]"' if node.least else f'"[" ({some})? "]"'

    def _open(self, others: Node, named: Mapping[str, str]) -> str:
        pair = self.add(f"string {_COLON} {self.add(self._node(others, named))}")
        return f'"{{" ({pair} ({_COMMA} {pair})*)? "}}"'

    def _closed(self, properties: Sequence[Property], named: Mapping[str, str]) -> str:
        """A rule for what may follow each property, so that the compiler looks at one at a time."""
        pairs = [self._pair(one, named) for one in properties]
        more = [""]
        for one, pair in zip(reversed(properties), reversed(pairs), strict=True):
            with_it = f"{_COMMA} {pair} {more[-1]}"
            more.append(self.add(with_it if one.required else f"{with_it} | {more[-1] or _NOTHING}"))
        more.reverse()
        start = _NOTHING
        first = next((place for place, one in enumerate(properties) if one.required), len(properties) - 1)
        for place in range(first, -1, -1):
            begins = f"{pairs[place]} {more[place + 1]}"
            start = self.add(begins if properties[place].required else f"{begins} | {start}")
        return f'"{{" {start} "}}"'

    def _pair(self, one: Property, named: Mapping[str, str]) -> str:
        value = self.add(self._node(one.value, named))
        return self.add(f"{quoted(json.dumps(one.name, ensure_ascii=False))} {_COLON} {value}")


def _sized_text(node: Text) -> str:
    if node.most is None and not node.least:
        return "string"
    return rf'"\"" {_PLAIN}{_times(node.least, node.most)} "\""'


def _pattern(pattern: Pattern) -> str:
    match pattern:
        case Chars(ranges):
            return f"[{''.join(map(_range, ranges))}]"
        case Chain(parts):
            return f"({' '.join(_runs(parts))})" if parts else _NOTHING
        case Either(options):
            return f"({' | '.join(map(_pattern, options))})"
        case Repeat(part, least, most):
            inner = f"({_pattern(part)})" if isinstance(part, Repeat) else _pattern(part)
            return _NOTHING if most == 0 else f"{inner}{_times(least, most)}"
    raise AssertionError(pattern)


def _times(least: int, most: int | None) -> str:
    if most is None and least < 2:
        return "+" if least else "*"
    return f"{{{least},{'' if most is None else most}}}"


def _runs(parts: Sequence[Pattern]) -> Iterator[str]:
    """Single characters that follow each other as one literal."""
    run = ""
    for part in parts:
        if isinstance(part, Chars) and len(part.ranges) == 1 and part.ranges[0][0] == part.ranges[0][1]:
            run += chr(part.ranges[0][0])
            continue
        if run:
            yield quoted(run)
            run = ""
        yield _pattern(part)
    if run:
        yield quoted(run)


def _range(ends: tuple[int, int]) -> str:
    low, high = (chr(end) if chr(end).isascii() and chr(end).isalnum() else f"\\U{end:08X}" for end in ends)
    return low if low == high else f"{low}-{high}"
