"""Text of others as a terminal may get it: what a container or a server wrote must not steer one. Pure.

A terminal obeys U+0080 to U+009F as it obeys escape sequences, and other characters turn rows around or hide: so what
is not printed, whatever it does, is shown otherwise in every output.
"""

from __future__ import annotations

import json


def printable(text: str) -> str:
    """One row for people, in which ``?`` stands for what is not printed."""
    return text if text.isprintable() else "".join(item if item.isprintable() else "?" for item in text)


def printable_json(text: str) -> str:
    """JSON of the same value, in which what is not printed is escaped. Rows stay."""
    if text.isprintable():
        return text
    return "".join(item if item.isprintable() or item == "\n" else json.dumps(item)[1:-1] for item in text)
