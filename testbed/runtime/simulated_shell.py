"""The part of the POSIX shell that containers' commands in tests and examples use, as a syntax tree.

Decides what a line means; ``simulated_process`` runs it. Known: lists (``;``, newline, ``&``, ``&&``, ``||``, ``!``),
``if``/``while``/``until``/``for``, ``{ }``, redirections (``>``, ``>>``, ``<``, ``2>``, ``2>&1``), assignments, quotes,
``$NAME``, ``${NAME}``, ``$?``, ``$!``. What is not known (pipes, substitutions, functions) is an error, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from testbed.errors import InvalidInput

_OPERATORS = ("2>&1", "&&", "||", "2>>", "2>", ">>", ">", "<", ";", "&", "|", "(", ")", "\n")
_CLOSING = frozenset({"then", "elif", "else", "fi", "do", "done", "}"})
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=")
NAME = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*|[?!$]))")


@dataclass(frozen=True)
class Part:
    """Text as it was written. ``expands``: names in it stand for values; ``quoted``: it is never split or dropped."""

    text: str
    expands: bool
    quoted: bool


Word = tuple[Part, ...]


@dataclass(frozen=True)
class Simple:
    assignments: tuple[tuple[str, Word], ...]
    words: tuple[Word, ...]
    redirects: tuple[tuple[str, Word], ...]


@dataclass(frozen=True)
class Not:
    command: Node


@dataclass(frozen=True)
class Both:
    """``&&`` (``on_success``) or ``||``."""

    first: Node
    second: Node
    on_success: bool


@dataclass(frozen=True)
class Sequence:
    """Commands one after another; True with those that go to the background."""

    commands: tuple[tuple[Node, bool], ...]


@dataclass(frozen=True)
class If:
    condition: Node
    then: Node
    otherwise: Node | None


@dataclass(frozen=True)
class Loop:
    """``while`` (``wanted`` True) or ``until``."""

    condition: Node
    body: Node
    wanted: bool


@dataclass(frozen=True)
class For:
    name: str
    words: tuple[Word, ...]
    body: Node


Node = Simple | Not | Both | Sequence | If | Loop | For
_Token = str | Word  # an operator, or a word


def parse(script: str) -> Node:
    """Raises: InvalidInput naming what this shell does not know."""
    parser = _Parser(_tokens(script))
    tree = parser.sequence()
    if parser.here is not None:
        raise InvalidInput(f"the simulated shell does not understand {_shown(parser.here)!r} here: {script}")
    return tree


def _shown(token: _Token) -> str:
    return token if isinstance(token, str) else "".join(part.text for part in token)


def _tokens(script: str) -> list[_Token]:
    found: list[_Token] = []
    parts: list[Part] = []
    at = 0

    def flush() -> None:
        if parts:
            found.append(tuple(parts))
            parts.clear()

    while at < len(script):
        rest = script[at:]
        operator = next((item for item in _OPERATORS if rest.startswith(item)), "")
        if operator and not (operator[0] == "2" and parts):
            flush()
            found.append(operator)
            at += len(operator)
        elif rest[0] in " \t":
            flush()
            at += 1
        elif rest[0] == "#" and not parts:
            at += len(rest.split("\n", 1)[0])
        elif rest[0] in "'\"":
            end = rest.find(rest[0], 1)
            if end < 0:
                raise InvalidInput(f"a quote is not closed: {script}")
            parts.append(Part(rest[1:end], rest[0] == '"', quoted=True))
            at += end + 1
        elif rest[0] == "\\":
            parts.append(Part(rest[1:2], expands=False, quoted=True))
            at += 2
        elif rest.startswith("$(") or rest[0] == "`":
            raise InvalidInput(f"the simulated shell knows no substitution of commands: {script}")
        else:
            plain = re.match(r"[^\s;&|()<>'\"\\`]+", rest)
            assert plain is not None
            parts.append(Part(plain.group(), expands=True, quoted=False))
            at += plain.end()
    flush()
    return found


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._at = tokens, 0

    @property
    def here(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _keyword(self) -> str:
        """The unquoted word here, or ``""``."""
        here = self.here
        if isinstance(here, tuple) and len(here) == 1 and not here[0].quoted:
            return here[0].text
        return ""

    def _take(self) -> _Token:
        here = self.here
        if here is None:
            raise InvalidInput("the script ends too early")
        self._at += 1
        return here

    def _expect(self, keyword: str) -> None:
        if self._keyword() != keyword:
            raise InvalidInput(f"{keyword!r} is missing in a script")
        self._at += 1

    def sequence(self) -> Node:
        commands: list[tuple[Node, bool]] = []
        while True:
            while self.here in (";", "\n"):
                self._at += 1
            if self.here is None or self._keyword() in _CLOSING or self.here == ")":
                break
            command = self._and_or()
            commands.append((command, self.here == "&"))
            if self.here in (";", "\n", "&"):
                self._at += 1
            elif self.here is not None and self._keyword() not in _CLOSING:
                break
        return commands[0][0] if len(commands) == 1 and not commands[0][1] else Sequence(tuple(commands))

    def _and_or(self) -> Node:
        left = self._command()
        while self.here in ("&&", "||"):
            on_success = self._take() == "&&"
            while self.here == "\n":
                self._at += 1
            left = Both(left, self._command(), on_success)
        return left

    def _command(self) -> Node:
        keyword = self._keyword()
        if keyword == "!":
            self._at += 1
            return Not(self._command())
        if keyword in ("while", "until"):
            self._at += 1
            condition = self.sequence()
            return Loop(condition, self._between("do", "done"), keyword == "while")
        if keyword == "if":
            self._at += 1
            return self._if()
        if keyword == "for":
            return self._for()
        if keyword == "{":
            return self._between("{", "}")
        return self._simple()

    def _between(self, opening: str, closing: str) -> Node:
        self._expect(opening)
        body = self.sequence()
        self._expect(closing)
        return body

    def _if(self) -> Node:
        condition = self.sequence()
        self._expect("then")
        then = self.sequence()
        keyword = self._keyword()
        if keyword == "elif":
            self._at += 1
            return If(condition, then, self._if())
        otherwise = None
        if keyword == "else":
            self._at += 1
            otherwise = self.sequence()
        self._expect("fi")
        return If(condition, then, otherwise)

    def _for(self) -> Node:
        self._expect("for")
        name = _shown(self._take())
        self._expect("in")
        words: list[Word] = []
        while isinstance(self.here, tuple):
            words.append(self.here)
            self._at += 1
        while self.here in (";", "\n"):
            self._at += 1
        return For(name, tuple(words), self._between("do", "done"))

    def _simple(self) -> Node:
        assignments: list[tuple[str, Word]] = []
        words: list[Word] = []
        redirects: list[tuple[str, Word]] = []
        while (here := self.here) is not None:
            if here == "2>&1":
                self._at += 1
                redirects.append(("2>&1", ()))
            elif here in (">", ">>", "<", "2>", "2>>"):
                operator = str(self._take())
                target = self._take()
                if isinstance(target, str):
                    raise InvalidInput(f"a file is missing after {operator}")
                redirects.append((operator, target))
            elif isinstance(here, str):
                break
            else:
                self._at += 1
                found = None if words or here[0].quoted else _ASSIGNMENT.match(here[0].text)
                if found:
                    first = Part(here[0].text[found.end() :], here[0].expands, here[0].quoted)
                    assignments.append((found.group(1), (first, *here[1:])))
                else:
                    words.append(here)
        if not (assignments or words or redirects):
            raise InvalidInput(f"the simulated shell does not understand {_shown(self._take())!r}")
        return Simple(tuple(assignments), tuple(words), tuple(redirects))
