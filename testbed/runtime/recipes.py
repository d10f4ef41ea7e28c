"""Which images are ours, what each is made from, and when one is stale. Reads the sources, asks no engine.

No image ever gets a name that is not ours, except the names that a user chose for his own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from testbed.resources import image_context
from testbed.runtime.contexts import context_files

SOURCE_HASH = "testbed.io/source-hash"
PUBLIC_BASE = "debian:bookworm-slim"
OWN_BASE = "testbed-base:bookworm"


@dataclass(frozen=True)
class Recipe:
    """One image of ours: its tag, the folder under ``compose/images`` and its build arguments."""

    tag: str
    context: str
    arguments: tuple[tuple[str, str], ...] = ()


RECIPES = (
    Recipe("testbed-pause:1", "pause"),
    Recipe("testbed-healthcheck:1", "healthcheck"),
    Recipe("testbed-gateway:1", "gateway"),
    Recipe("testbed-nettools:1", "nettools"),
    Recipe("testbed-registry:1", "registry"),
    Recipe("testbed-node:1", "node"),
    Recipe("sample:v1", "sample", (("VERSION", "v1"),)),
    Recipe("sample:v2", "sample", (("VERSION", "v2"),)),
    Recipe("sample:broken", "sample", (("VERSION", "broken"),)),
    Recipe("orders:v1", "orders", (("VERSION", "v1"),)),
)
# Built when they are first wanted, not by set-up: most machines can have the public ones.
ON_DEMAND = (
    Recipe("testbed-prometheus:1", "prometheus"),
    Recipe("testbed-alertmanager:1", "alertmanager"),
)
OURS = frozenset(recipe.tag for recipe in (*RECIPES, *ON_DEMAND)) | {OWN_BASE}


def source_hash(recipe: Recipe) -> str:
    """Changes when the Dockerfile, a file beside it or a build argument changes.

    The base is left out: pulling a newer one must not rebuild everything behind the user's back.
    """
    digest = hashlib.sha256(repr(recipe.arguments).encode())
    root = image_context(recipe.context)
    for path in context_files(root):
        digest.update(f"\0{path.relative_to(root).as_posix()}\0{path.stat().st_mode & 0o111}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
