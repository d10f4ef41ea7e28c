"""Fills the disk of a node: one file of ``bytes``, named after the injection, in the node's directory below /nodes.

``held({"node", "id"})`` tells {"bytes"}: what the file takes on the disk.
"""

import contextlib
import os
from pathlib import Path

NODES = Path("/nodes")
BLOCK = 512  # unit of st_blocks


def hold(plan, ready, over):
    file = file_of(plan)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, plan["bytes"])
        finally:
            os.close(descriptor)
        ready(f"a file of {plan['bytes']} bytes among the node's files")
        over.wait()
    finally:
        clear(plan)


def clear(plan):
    with contextlib.suppress(FileNotFoundError):
        file_of(plan).unlink()


def file_of(plan):
    return NODES / plan["node"] / f"fill-{plan['id']}"


def held(question):
    return {"bytes": file_of(question).stat().st_blocks * BLOCK}
