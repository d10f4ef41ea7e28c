"""Which image names can be read, and upstream's words for those that cannot.

Source: github.com/distribution/reference (grammar, ParseNormalizedNamed), kubernetes pkg/util/parsers.
"""

from __future__ import annotations

import re

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::\d+)?")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_LONGEST = 255


def mistake(reference: str) -> str:
    """What is wrong with it; empty when it can be read."""
    rest, _, digest = reference.partition("@")
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    name = f"{head}{slash}{last}"
    bad = "invalid reference format"
    if ("@" in reference and not _DIGEST.fullmatch(digest)) or (colon and not _TAG.fullmatch(tag)) or not name:
        return bad
    first, slash, path = name.partition("/")
    domain = bool(slash) and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    if domain and not _DOMAIN.fullmatch(first):
        return bad
    repository = path if domain else name if slash else f"library/{name}"
    if repository.lower() != repository:
        return f"{bad}: repository name ({repository}) must be lowercase"
    if not _PATH.fullmatch(repository):
        return bad
    return "repository name must not be more than 255 characters" if len(name) > _LONGEST else ""
