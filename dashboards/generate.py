"""Writes the dashboards as Grafana's classic JSON, which every Grafana from 10 on provisions from files.

    python dashboards/generate.py            writes them
    python dashboards/generate.py --check    says which are out of date, and ends with 1
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from overview import overview

FOLDER = Path(__file__).resolve().parent / "grafana"
DASHBOARDS = {"overview.json": overview}


def rendered() -> dict[str, str]:
    """File name -> text."""
    return {name: json.dumps(json.loads(JSONEncoder(sort_keys=True, indent=2).encode(make().build())), sort_keys=True,
                             indent=1, ensure_ascii=False) + "\n" for name, make in DASHBOARDS.items()}


def main() -> int:
    stale = []
    for name, text in rendered().items():
        file = FOLDER / name
        if file.is_file() and file.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            FOLDER.mkdir(exist_ok=True)
            file.write_text(text)
    if "--check" in sys.argv and stale:
        sys.stderr.write("out of date: " + ", ".join(stale) + " (run: make dashboards)\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
