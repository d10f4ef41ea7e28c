"""The result as JSON, as its published schema says."""

from __future__ import annotations

import json

from testbed.experiment.result import Result


def render(result: Result) -> str:
    return json.dumps(result.to_json(), indent=1, ensure_ascii=False) + "\n"
