"""Text of others as a terminal may get it. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """One row in which ``?`` stands for what is not printed: what a container or a server wrote must not steer a
    terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
