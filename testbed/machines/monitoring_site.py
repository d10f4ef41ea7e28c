"""What lies on disk of a cluster's monitoring: found, written, and kept when the cluster goes.

The folder ``monitoring`` of the state directory: configuration, which holds no secrets, and what was recorded.
``cleanup.remove_state`` leaves it alone; ``testbed monitor down`` removes it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from testbed.api.instance import Instance
from testbed.api.instance_files import instance_directory, load_instance
from testbed.errors import EnvironmentProblem, InvalidInput
from testbed.machines.cleanup import instance_ids
from testbed.machines.monitoring_plan import PROMETHEUS, Site, rule_path
from testbed.machines.monitoring_runbooks import board_with_links, rules_with_links
from testbed.resources import board_files, rule_files


def site_of(name: str) -> tuple[Site, Instance | None]:
    """Of a cluster that is up, or of one that is gone and left what was recorded (then without it).

    Raises: EnvironmentProblem when there is neither.
    """
    directory = instance_directory(name)
    if (directory / "instance.json").exists() or not kept_data(directory):
        instance = load_instance(directory)
        return Site(name, directory, _owner(directory)), instance
    return Site(name, directory, _owner(directory)), None


def kept_data(directory: Path) -> bool:
    """Whether a cluster with this state directory left what Prometheus recorded."""
    return Site(directory.name, directory, (0, 0)).data(PROMETHEUS).is_dir()


def _owner(directory: Path) -> tuple[int, int]:
    found = directory.stat()
    return found.st_uid, found.st_gid


def identities(site: Site) -> tuple[str, ...]:
    """Ids that its containers may carry: the cluster's, and that of the last `monitor up`."""
    with suppress(OSError):
        return tuple(sorted({*instance_ids(site.directory), site.identity.read_text().strip()} - {""}))
    return tuple(sorted(instance_ids(site.directory)))


def identity_of(site: Site, instance: Instance | None) -> str:
    """The id that its containers are to carry."""
    if instance is not None:
        return instance.id
    return next(iter(identities(site)), "") or secrets.token_hex(6)


def read_rules(files: Iterable[Path], runbooks: str) -> tuple[dict[str, str], dict[str, str]]:
    """Name to text of our rule files, whose links lead to the page ``runbooks``, and of a person's own, as they are;
    and path in the container to the path that a person knows.

    Raises: InvalidInput for one that cannot be read.
    """
    ours = rule_files()
    texts, given = {}, {}
    for number, path in enumerate([*ours, *files]):
        name = f"{number}-{path.name}"
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
        texts[name] = rules_with_links(text, runbooks) if path in ours else text
        given[rule_path(name)] = str(path)
    return texts, given


def read_boards(runbooks: str) -> dict[str, str]:
    """File name to text of our dashboards; ``runbooks``: the page that they link to, "" where no cluster serves one."""
    texts = {path.name: path.read_text() for path in board_files()}
    return {name: board_with_links(text, runbooks) for name, text in texts.items()} if runbooks else texts


def write(site: Site, written: Mapping[str, str], parts: Iterable[str], identity: str) -> None:
    """Writes the files, and removes those of an earlier time. Raises: EnvironmentProblem."""
    try:
        for directory in (site.root, site.files, *(site.data(part) for part in parts)):
            _own(directory, site)
        for name, text in written.items():
            path = site.files / name
            _own(path.parent, site)
            path.write_text(text)
            _give(path, site)
        for path in site.files.rglob("*"):
            if path.is_file() and path.relative_to(site.files).as_posix() not in written:
                path.unlink()
        site.identity.write_text(identity)
        _give(site.identity, site)
    except OSError as error:
        raise EnvironmentProblem(f"cannot write {error.filename}: {error.strerror}",
                                 hint="do it as the user who owns the cluster") from error


def _own(directory: Path, site: Site) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _give(directory, site)


def _give(path: Path, site: Site) -> None:
    """Root may look after another user's cluster; what it writes is that user's."""
    if os.geteuid() == 0:
        os.chown(path, *site.owner)
