"""Sets of completion indexes as a Job's status writes them, ``0,2-4``, and the index of a pod.

Source: kubernetes pkg/controller/job/indexed_job_utils.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.api.batch_v1 import COMPLETION_INDEX
from testbed.api.core_v1 import Pod


def parse(text: str) -> set[int]:
    """What cannot be read counts as nothing: a status is never a reason to stop."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return found


def text_of(indexes: Iterable[int]) -> str:
    """Two in a row are listed, three and more are a range."""
    parts: list[list[int]] = []
    for index in sorted(set(indexes)):
        if parts and parts[-1][-1] == index - 1:
            parts[-1].append(index)
        else:
            parts.append([index])
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in parts
    )


def index_of(pod: Pod) -> int:
    """-1 when it has none."""
    text = pod.metadata.annotations.get(COMPLETION_INDEX, "")
    return int(text) if text.isdigit() else -1
