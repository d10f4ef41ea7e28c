"""Images without a registry: how those of ``recipes`` are built, and how a user's own come in.

Decides only that; who asks for it, and how progress is shown, is left to ``machines/setup.py`` and the CLI. Nothing
here is asynchronous: images are built before a cluster exists. No image ever gets a name that is not ours, except the
names that a user chose for his own.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

from testbed.errors import EngineError, EnvironmentProblem, InvalidInput
from testbed.resources import image_context
from testbed.runtime.contexts import packed
from testbed.runtime.debootstrap import debootstrap
from testbed.runtime.docker_sdk import sdk_client, translated
from testbed.runtime.protocol import EngineVersion
from testbed.runtime.recipes import OURS, OWN_BASE, PUBLIC_BASE, RECIPES, SOURCE_HASH, Recipe, source_hash

USER_IMAGE = "testbed.io/user-image"
CONNECT_DEADLINE_S = 10
ANSWER_DEADLINE_S = 900  # of a single answer of the engine, of which a build gives many

Progress = Callable[[str, float | None], None]
"""Called with a line of text and, where it is known, the part that is done (0 to 1)."""


def silent(line: str, done: float | None) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Image:
    """An image as ``testbed image list`` shows it. ``kind``: ``ours``, ``yours`` or ``engine``."""

    tag: str
    id: str
    size_bytes: int
    created_at: datetime
    kind: str


class Images:
    """The images of one engine. Closed by ``close`` or as a context manager.

    Raises, from every method: EngineUnavailable, EngineError.
    """

    def __init__(self, url: str = "") -> None:
        """``url``: the engine's address; "" is the environment's (``DOCKER_HOST``, else the default socket)."""
        with translated():
            self._client = sdk_client(url, timeout_s=CONNECT_DEADLINE_S)
            self._client.timeout = ANSWER_DEADLINE_S

    def close(self) -> None:
        self._client.close()

    def version(self) -> EngineVersion:
        """Of the engine, with what it says of cgroups and the kernel."""
        with translated():
            version, info = self._client.version(), self._client.info()
        return EngineVersion(
            version=version["Version"], api_version=version["ApiVersion"],
            cgroup_version=int(info.get("CgroupVersion") or 1), cgroup_driver=info.get("CgroupDriver", ""),
            kernel=version.get("KernelVersion", ""))

    def __enter__(self) -> Images:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- what is there

    def present(self, reference: str) -> bool:
        return self._labels(reference) is not None

    def missing(self, recipes: Iterable[Recipe] = RECIPES) -> tuple[Recipe, ...]:
        """Those of our images that are absent or were built from other sources than these."""
        return tuple(recipe for recipe in recipes
                     if (self._labels(recipe.tag) or {}).get(SOURCE_HASH) != source_hash(recipe))

    def list(self) -> tuple[Image, ...]:
        """Every tagged image of the engine, ours first."""
        with translated():
            found = self._client.images()
        rows = []
        for image in found:
            labels = image.get("Labels") or {}
            for tag in image.get("RepoTags") or ():
                if tag == "<none>:<none>":
                    continue
                kind = "ours" if tag in OURS else "yours" if USER_IMAGE in labels else "engine"
                rows.append(Image(tag, image["Id"], image["Size"], datetime.fromtimestamp(image["Created"], UTC), kind))
        return tuple(sorted(rows, key=lambda row: (("ours", "yours", "engine").index(row.kind), row.tag)))

    def _labels(self, reference: str) -> Mapping[str, str] | None:
        from docker.errors import ImageNotFound

        with translated():
            try:
                return (self._client.inspect_image(reference)["Config"] or {}).get("Labels") or {}
            except ImageNotFound:
                return None

    def _id(self, reference: str) -> str:
        from docker.errors import ImageNotFound

        with translated():
            try:
                return str(self._client.inspect_image(reference)["Id"])
            except ImageNotFound:
                return ""

    def _remove_if_nameless(self, image: str) -> None:
        from docker.errors import APIError

        with translated():
            try:
                if not self._client.inspect_image(image)["RepoTags"]:
                    self._client.remove_image(image)
            except APIError:
                return  # gone already, or a container uses it

    # --- making what is not

    def base(self, progress: Progress = silent) -> str:
        """The base image to build from: the public one where it can be had, else one of our own.

        Raises: EnvironmentProblem when neither can be had.
        """
        for tag in (PUBLIC_BASE, OWN_BASE):
            if self.present(tag):
                return tag
        progress(f"pulling {PUBLIC_BASE}", None)
        if self.pull(PUBLIC_BASE):
            return PUBLIC_BASE
        progress(f"{PUBLIC_BASE} cannot be pulled; making {OWN_BASE} from Debian packages", None)
        self._bootstrap(progress)
        return OWN_BASE

    def build(self, recipe: Recipe, base: str, progress: Progress = silent) -> None:
        """Builds one of ours, and removes the one that it takes the place of, unless containers use that.
        ``base``: what ``base()`` answered."""
        before = self._id(recipe.tag)
        self._build(image_context(recipe.context), recipe.tag, {"BASE": base, **dict(recipe.arguments)},
                    {SOURCE_HASH: source_hash(recipe)}, "Dockerfile", progress)
        if before and before != self._id(recipe.tag):
            self._remove_if_nameless(before)

    def build_user(
        self, context: Path, tag: str, *, dockerfile: str = "Dockerfile", arguments: Mapping[str, str] | None = None,
        progress: Progress = silent,
    ) -> None:
        """Builds a user's image for use in pods; ``ARG BASE`` gets a base that is there, unless he gives his own.

        Raises: InvalidInput when the folder or its Dockerfile does not exist, or the name is one of ours.
        """
        if not context.is_dir():
            raise InvalidInput(f"{context} is not a folder", hint="give the folder that holds the Dockerfile")
        file = context / dockerfile
        if not file.is_file():
            raise InvalidInput(f"{file} does not exist", hint="name it: --file NAME, relative to the folder")
        tag = tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"
        if tag in OURS | {PUBLIC_BASE}:
            raise InvalidInput(f"{tag} is the name of an image that setup makes", hint="choose another: --tag NAME:TAG")
        given = dict(arguments or {})
        if "BASE" not in given and re.search(r"^\s*ARG\s+BASE\b", file.read_text(errors="replace"), re.M | re.I):
            given["BASE"] = self.base(progress)
        self._build(context, tag, given, {USER_IMAGE: "built"}, dockerfile, progress)

    def load(self, archive: Path) -> tuple[str, ...]:
        """Loads what ``docker save`` wrote; returns the references that were loaded.

        Raises: InvalidInput when the file is not such an archive.
        """
        if not archive.is_file():
            raise InvalidInput(f"{archive} is not a file", hint="write one with: docker save -o FILE IMAGE")
        loaded: list[str] = []
        with translated(), archive.open("rb") as stream:
            for message in self._client.load_image(stream):
                if "error" in message:
                    raise InvalidInput(f"{archive}: {str(message['error']).strip()}",
                                       hint="write one with: docker save -o FILE IMAGE")
                loaded += re.findall(r"Loaded image(?: ID)?: (\S+)", message.get("stream", ""))
        if not loaded:
            raise InvalidInput(f"{archive} holds no image", hint="write one with: docker save -o FILE IMAGE")
        return tuple(loaded)

    def push(self, reference: str, registry: str) -> str:
        """Brings an image into a registry (``host:port``); returns its name there, which the engine then forgets, so
        that it must be pulled. Raises: NoSuchImage, EngineError."""
        name, _, tag = reference.rpartition(":")
        if not name or "/" in tag:
            name, tag = reference, "latest"
        with translated():
            self._client.tag(reference, f"{registry}/{name}", tag)
            for step in self._client.push(f"{registry}/{name}", tag=tag, stream=True, decode=True):
                if "error" in step:
                    raise EngineError(f"{registry} does not take {reference}: {str(step['error']).strip()}")
        self.remove(f"{registry}/{name}:{tag}")
        return f"{registry}/{name}:{tag}"

    def remove(self, reference: str) -> None:
        """Takes a tag away; not an error when it is gone."""
        from docker.errors import ImageNotFound

        with translated():
            try:
                self._client.remove_image(reference)
            except ImageNotFound:
                return

    def pull(self, reference: str) -> bool:
        """Whether a registry had it."""
        from docker.errors import APIError

        repository, _, tag = reference.partition(":")
        with translated():
            try:
                return not any("error" in step for step in
                               self._client.pull(repository, tag=tag, stream=True, decode=True))
            except APIError:
                return False

    def _bootstrap(self, progress: Progress) -> None:
        if which("mmdebstrap") is None:
            raise EnvironmentProblem(f"{PUBLIC_BASE} cannot be pulled and mmdebstrap is not installed",
                                     hint="apt-get install mmdebstrap, or: docker load -i an archive of " + PUBLIC_BASE)
        with tempfile.TemporaryDirectory(prefix="testbed-base-") as directory:
            archive = Path(directory) / "base.tar"
            debootstrap(archive, progress)
            repository, _, tag = OWN_BASE.partition(":")
            progress(f"importing {OWN_BASE}", 0.95)
            with translated():
                self._client.import_image_from_file(
                    str(archive), repository=repository, tag=tag, changes=['CMD ["bash"]', "ENV LANG=C.UTF-8"])

    def _build(
        self, context: Path, tag: str, arguments: Mapping[str, str], labels: Mapping[str, str], dockerfile: str,
        progress: Progress,
    ) -> None:
        tail: list[str] = []
        with translated(), packed(context) as archive:
            for message in self._client.build(
                fileobj=archive, custom_context=True, dockerfile=dockerfile, tag=tag, decode=True, rm=True,
                forcerm=True, network_mode="host", labels=dict(labels), buildargs=_proxies() | dict(arguments),
            ):
                if "error" in message:
                    raise _build_failure(tag, str(message["error"]), tail)
                for line in str(message.get("stream", "")).splitlines():
                    if not line.strip():
                        continue
                    tail = [*tail[-20:], line.rstrip()]
                    step = re.match(r"Step (\d+)/(\d+)", line)
                    progress(f"{tag}: {line.strip()}",
                             (int(step[1]) - 1) / int(step[2]) if step else None)


def _build_failure(tag: str, error: str, tail: list[str]) -> EngineError:
    said = "\n".join(f"    {line}" for line in tail[-12:])
    return EngineError(f"building {tag} failed: {error.strip()}\n{said}",
                       hint="package mirrors must be reachable from this machine: the build uses its network")


def _proxies() -> dict[str, str]:
    """Proxy settings of this shell, which package managers inside a build need as well."""
    names = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {name: os.environ[name] for name in names if name in os.environ}
