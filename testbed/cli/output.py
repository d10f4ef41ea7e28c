"""Printing: server-side Tables as kubectl prints them, JSON, YAML, and messages on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from testbed.api.printable import printable
from testbed.errors import UsageError

Name = typer.Option("default", "--name", envvar="TESTBED_NAME", help="Which cluster.")
Namespace = typer.Option("default", "-n", "--namespace", help="Namespace.")


def output_option(*formats: str, default: str = "") -> Any:
    """``-o`` of a command: its help names what it takes, and all else is refused while the command line is read."""
    def check(value: str) -> str:
        if value not in (default, *formats):
            raise UsageError(f"-o {value!r} is not a format", hint="use one of: " + ", ".join(formats))
        return value

    return typer.Option(default, "-o", "--output", callback=check, help=f"{', '.join(formats[:-1])} or {formats[-1]}.")


Output = output_option("json", "yaml")


def say(message: str) -> None:
    """A message to the person, on stderr."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201


def out(text: str) -> None:
    """Data, on stdout."""
    print(text, flush=True)  # noqa: T201


def coloured() -> bool:
    """Whether stdout is a terminal, and colours are not switched off."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def plain(value: Any) -> str:
    """A cell without control characters."""
    return "" if value is None else printable(str(value))


def columns(header: Sequence[str], rows: Iterable[Sequence[Any]], *, headers: bool = True) -> str:
    """Left-aligned columns three blanks apart, as kubectl prints."""
    cells = [[plain(cell) for cell in row] for row in rows]
    table = ([list(header)] if headers else []) + cells
    widths = [max((len(row[index]) for row in table), default=0) for index in range(len(header))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def table_rows(
    table: Mapping[str, Any], *, wide: bool, namespaces: bool, labels: bool
) -> tuple[list[str], list[list[Any]]]:
    """Header and cells of a ``meta.k8s.io/v1`` Table."""
    definitions = table.get("columnDefinitions") or []
    shown = [index for index, column in enumerate(definitions) if wide or not column.get("priority")]
    header = [str(definitions[index]["name"]).upper() for index in shown]
    rows = []
    for row in table.get("rows") or []:
        metadata = (row.get("object") or {}).get("metadata", {})
        cells = [row["cells"][index] for index in shown]
        if namespaces:
            cells.insert(0, metadata.get("namespace", ""))
        if labels:
            pairs = metadata.get("labels") or {}
            cells.append(",".join(f"{key}={value}" for key, value in sorted(pairs.items())) or "<none>")
        rows.append(cells)
    return (["NAMESPACE"] if namespaces else []) + header + (["LABELS"] if labels else []), rows


def yaml_text(value: Any) -> str:
    """JSON values as block-style YAML. What is not printed is escaped, and then all that is not ASCII."""
    text = _yaml(value, unicode=True)
    return text if text.replace("\n", "").isprintable() else _yaml(value, unicode=False)


def _yaml(value: Any, *, unicode: bool) -> str:
    import io

    from ruamel.yaml import YAML

    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.allow_unicode = unicode
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue().rstrip("\n")


def dump(value: Any, output: str) -> None:
    """A value as JSON or YAML on stdout."""
    out(yaml_text(value) if output == "yaml" else json.dumps(value, indent=2))


def seconds(text: str) -> float:
    """``90``, ``90s``, ``1m30s``, ``500ms`` as seconds. Raises: UsageError."""
    import re

    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h|)", text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise UsageError(f"{text!r} is not a duration", hint="write 30s, 1m30s or 500ms")
    return sum(float(number) * units[unit] for number, unit in parts)


def ratio(text: str) -> float:
    """``10%`` or ``0.1`` as 0.1, more than 0. Raises: UsageError."""
    number = text.strip().removesuffix("%")
    try:
        value = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise UsageError(f"{text!r} is not a share", hint="write 10% or 0.1")
    return value
