"""Build contexts as the engine wants them: which files belong to one, and one stream that its cache recognises."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def packed(context: Path) -> Iterator[IO[bytes]]:
    """The folder as the tar stream that the engine wants, without times and owners, so that its cache works."""
    with tempfile.TemporaryFile() as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for path in context_files(context):
                archive.add(path, path.relative_to(context).as_posix(), recursive=False, filter=_anonymous)
        stream.seek(0)
        yield stream


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


def context_files(context: Path) -> list[Path]:
    """Every file that belongs to a build context, in a fixed order; ``.dockerignore`` is kept to."""
    from docker.utils.build import exclude_paths

    ignore = context / ".dockerignore"
    patterns = [line.strip() for line in ignore.read_text().splitlines()
                if line.strip() and not line.startswith("#")] if ignore.is_file() else []
    names = exclude_paths(str(context), [*patterns, "**/__pycache__"])
    return sorted(path for path in (context / name for name in names) if path.is_file() or path.is_symlink())
