"""How a line of one of many containers is shown: ``pod container | text``, coloured by pod on a terminal. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Of a terminal's 16 colours, those that are read on light and on dark; pods get them in turn.
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
_RESET = "\x1b[0m"
_SEQUENCE = re.compile(r"(\x1b\[[0-9;]*m)|\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])?")


@dataclass(frozen=True)
class Source:
    """A container of a pod."""

    namespace: str
    pod: str
    container: str


class Prefixes:
    """``terminal``: lines go to one. ``colour``: colour pods too. ``namespaces``: name them too."""

    def __init__(self, *, terminal: bool, colour: bool, namespaces: bool = False) -> None:
        self._terminal, self._colour, self._namespaces = terminal, colour, namespaces
        self._colours: dict[tuple[str, str], int] = {}
        self._width = 0

    def expect(self, source: Source) -> None:
        """Its lines will be shown: prefixes are as wide as the widest that is known of."""
        self._width = max(self._width, len(self._name(source)))

    def show(self, source: Source, text: str) -> str:
        """The line without its end. On a terminal what the container wrote colours, and steers nothing."""
        self.expect(source)
        name = f"{self._name(source):<{self._width}} |"
        if not self._terminal:
            return f"{name} {text}"
        harmless = tame(text)
        end = _RESET if "\x1b" in harmless else ""
        if not self._colour:
            return f"{name} {harmless}{end}"
        pod = (source.namespace, source.pod)
        colour = self._colours.setdefault(pod, _COLOURS[len(self._colours) % len(_COLOURS)])
        return f"\x1b[{colour}m{name}{_RESET} {harmless}{end}"

    def _name(self, source: Source) -> str:
        pod = f"{source.namespace}/{source.pod}" if self._namespaces else source.pod
        return f"{pod} {source.container}"


def tame(text: str) -> str:
    """Without what moves a cursor, sets a title or rings; colours stay."""
    coloured = _SEQUENCE.sub(lambda found: found.group(1) or "", text)
    return "".join(character for character in coloured if character.isprintable() or character in "\t\x1b")
