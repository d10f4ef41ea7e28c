"""JSONPath as Chaos Toolkit's tolerances speak it: the dialect of ``jsonpath2``, which is not RFC 9535. Pure.

In it a filter ``[?(...)]`` keeps or drops the value it stands at (so ``$.items[*][?(@.ok = true)]``), equality is
``=``, ``or`` binds before ``and``, and ``length()``, ``keys()``, ``values()``, ``entries()``, ``charAt(n)`` and
``substring(a, b)`` are steps. Beyond it, single quotes, ``==`` and names with a dash are understood too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Step = Callable[[Any, Any], Iterable[Any]]  # (root, value) -> what it leads to
Test = Callable[[Any, Any], bool]

_TOKEN = re.compile(r"""\s*(?:
    (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
  | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*)
  | (?P<sign>\.\.|==|!=|>=|<=|[$@.*\[\]():,?=<>])
)\s*""", re.VERBOSE)
_LITERALS = {"true": True, "false": False, "null": None}
_RESERVED = {"and", "or", "not", *_LITERALS}


class JsonPath:
    """A path, parsed once. Raises: ValueError that says what is wrong with it."""

    def __init__(self, text: str) -> None:
        self.text = text
        parser = _Parser(text)
        parser.take("$")
        self._steps = parser.steps()
        parser.end()

    def values(self, root: Any) -> list[Any]:
        """All values it leads to, in order."""
        return list(_walk(self._steps, root, root))


def _walk(steps: list[Step], root: Any, value: Any) -> Iterator[Any]:
    if not steps:
        yield value
        return
    for found in steps[0](root, value):
        yield from _walk(steps[1:], root, found)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._kind, self._token = "", ""
        self._next()

    # --- tokens

    def _next(self) -> None:
        if not self._text[self._at:].strip():
            self._kind, self._token = "end", ""
            return
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise ValueError(f"unexpected {self._text[self._at:].strip()[:10]!r}")
        self._at = match.end()
        self._kind = str(match.lastgroup)
        self._token = match[self._kind]

    def take(self, sign: str) -> None:
        if not self._met(sign):
            raise ValueError(f"expected {sign!r}, found {self._token or 'its end'!r}")

    def _met(self, *signs: str) -> str:
        """Takes the token when it is one of these signs or words; "" otherwise."""
        if self._kind in ("sign", "word") and self._token in signs:
            found = self._token
            self._next()
            return found
        return ""

    def _taken(self) -> str:
        found = self._token
        self._next()
        return found

    def end(self) -> None:
        if self._kind != "end":
            raise ValueError(f"unexpected {self._token!r}")

    # --- steps

    def steps(self) -> list[Step]:
        found: list[Step] = []
        while True:
            if self._met(".."):
                found.append(lambda root, value: _descend(value))
                found.append(self._bracket() if self._token == "[" else self._bare())
            elif self._met("."):
                found.append(self._bare())
            elif self._kind == "sign" and self._token == "[":
                found.append(self._bracket())
            else:
                return found

    def _bare(self) -> Step:
        if self._met("*"):
            return lambda root, value: _children(value)
        if self._kind != "word" or self._token in _RESERVED:
            raise ValueError(f"expected a name, found {self._token or 'its end'!r}")
        name = self._taken()
        return self._call(name) if self._token == "(" else _member(name)

    def _bracket(self) -> Step:
        self.take("[")
        choices = [self._choice()]
        while self._met(","):
            choices.append(self._choice())
        self.take("]")
        return lambda root, value: [found for choice in choices for found in choice(root, value)]

    def _choice(self) -> Step:
        if self._kind == "string":
            return _member(_unquoted(self._taken()))
        if self._met("*"):
            return lambda root, value: _children(value)
        if self._met("?"):
            self.take("(")
            test = self._all()
            self.take(")")
            return lambda root, value: [value] if test(root, value) else []
        if self._kind == "word":
            return self._call(self._taken())
        return self._index_or_slice()

    def _index_or_slice(self) -> Step:
        bounds: list[int | None] = [self._whole()]
        while len(bounds) < 3 and self._met(":"):
            bounds.append(self._whole())
        if len(bounds) == 1:
            index = bounds[0]
            if index is None:
                raise ValueError(f"unexpected {self._token or 'its end'!r} in brackets")
            return lambda root, value: _item(value, index)
        if bounds[-1] == 0 and len(bounds) == 3:
            raise ValueError("a slice cannot have the step 0")
        part = slice(*bounds)
        return lambda root, value: value[part] if isinstance(value, list) else []

    def _whole(self) -> int | None:
        if self._kind != "number":
            return None
        try:
            return int(self._taken())
        except ValueError:
            raise ValueError("an index is a whole number") from None

    def _call(self, name: str) -> Step:
        self.take("(")
        arguments: list[Any] = []
        while not self._met(")"):
            if arguments:
                self.take(",")
            arguments.append(self._literal())
        function = _FUNCTIONS.get(name)
        if function is None:
            raise ValueError(f"unknown function {name}(); there are {', '.join(sorted(_FUNCTIONS))}")
        return lambda root, value: function(value, arguments)

    # --- filters: "or" binds before "and", as in the dialect

    def _all(self) -> Test:
        parts = [self._any()]
        while self._met("and"):
            parts.append(self._any())
        return lambda root, value: all(part(root, value) for part in parts)

    def _any(self) -> Test:
        parts = [self._not()]
        while self._met("or"):
            parts.append(self._not())
        return lambda root, value: any(part(root, value) for part in parts)

    def _not(self) -> Test:
        if self._met("not"):
            inner = self._not()
            return lambda root, value: not inner(root, value)
        if self._met("("):
            inner = self._all()
            self.take(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Test:
        left, is_path = self._operand()
        sign = self._met("=", "==", "!=", ">=", ">", "<=", "<")
        if not sign:
            if is_path:
                return lambda root, value: any(True for _ in left(root, value))
            return lambda root, value: all(left(root, value))
        right, _ = self._operand()
        compare = _COMPARISONS[sign]
        return lambda root, value: any(
            compare(one, other) for one in left(root, value) for other in right(root, value))

    def _operand(self) -> tuple[Step, bool]:
        if self._met("@"):
            steps = self.steps()
            return (lambda root, value: _walk(steps, root, value)), True
        if self._met("$"):
            steps = self.steps()
            return (lambda root, value: _walk(steps, root, root)), True
        literal = self._literal()
        return (lambda root, value: [literal]), False

    def _literal(self) -> Any:
        if self._kind == "string":
            return _unquoted(self._taken())
        if self._kind == "number":
            return json.loads(self._taken())
        if self._kind == "word" and self._token in _LITERALS:
            return _LITERALS[self._taken()]
        raise ValueError(f"expected a value, found {self._token or 'its end'!r}")


def _unquoted(token: str) -> str:
    if token.startswith("'"):
        token = '"' + token[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    return str(json.loads(token))


def _member(name: str) -> Step:
    return lambda root, value: [value[name]] if isinstance(value, Mapping) and name in value else []


def _item(value: Any, index: int) -> list[Any]:
    return [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []


def _children(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _descend(value: Any) -> Iterator[Any]:
    yield value
    for child in _children(value):
        yield from _descend(child)


# --- functions


def _length(value: Any, arguments: list[Any]) -> list[Any]:
    return [len(value)] if isinstance(value, list | str) and not arguments else []


def _keys(value: Any, arguments: list[Any]) -> list[Any]:
    if isinstance(value, Mapping):
        return [list(value)]
    return [list(range(len(value)))] if isinstance(value, list) else []


def _values(value: Any, arguments: list[Any]) -> list[Any]:
    return [_children(value)] if isinstance(value, Mapping | list) else []


def _entries(value: Any, arguments: list[Any]) -> list[Any]:
    if isinstance(value, Mapping):
        return [[list(pair) for pair in value.items()]]
    return [[list(pair) for pair in enumerate(value)]] if isinstance(value, list) else []


def _char_at(value: Any, arguments: list[Any]) -> list[Any]:
    if not isinstance(value, str) or len(arguments) != 1 or not isinstance(arguments[0], int):
        return []
    return [value[arguments[0]]] if -len(value) <= arguments[0] < len(value) else []


def _substring(value: Any, arguments: list[Any]) -> list[Any]:
    whole = 1 <= len(arguments) <= 2 and all(isinstance(item, int) for item in arguments)
    return [value[slice(*(arguments if len(arguments) == 2 else (arguments[0], None)))]] \
        if isinstance(value, str) and whole else []


def _numbers(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda one, other: isinstance(one, int | float) and isinstance(other, int | float) and compare(one, other)


_FUNCTIONS: dict[str, Callable[[Any, list[Any]], list[Any]]] = {
    "length": _length, "keys": _keys, "values": _values, "entries": _entries, "charAt": _char_at,
    "substring": _substring,
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: bool(one == other), "==": lambda one, other: bool(one == other),
    "!=": lambda one, other: bool(one != other),
    "<": _numbers(lambda one, other: one < other), "<=": _numbers(lambda one, other: one <= other),
    ">": _numbers(lambda one, other: one > other), ">=": _numbers(lambda one, other: one >= other),
}
