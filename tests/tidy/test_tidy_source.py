"""House rules that a machine can hold: who may ask for time, chance, threads and the outside world, and what the
repository may name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("testbed", "faults", "probes")
BANNED_IN_CORE = {
    "asyncio", "logging", "time", "random", "secrets", "uuid", "os", "io", "pathlib", "shutil", "socket", "select",
    "signal", "subprocess", "threading", "multiprocessing", "concurrent", "tempfile", "sqlite3", "http", "urllib",
    "requests", "aiohttp", "docker", "sys",
}
CLOCK_READS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}
LOOPS_OF_OURS = ("testbed/controlplane", "testbed/node", "testbed/network", "testbed/server", "testbed/store", "faults",
                 "testbed/load/pulse.py", "testbed/load/open_loop.py")


def sources(*parts: str) -> list[Path]:
    """Python files of these packages or folders."""
    return sorted(path for part in parts or PACKAGES for path in
                  ([ROOT / part] if part.endswith(".py") else (ROOT / part).rglob("*.py")))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(module: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, module) of every import that happens at run time."""
    typing_only = {id(inner) for node in ast.walk(module) if isinstance(node, ast.If)
                   and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
                   for statement in node.body for inner in ast.walk(statement)}
    for node in ast.walk(module):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def calls(module: ast.Module) -> Iterator[tuple[int, str, ast.Call]]:
    """(line, dotted name, call) of every call."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.lineno, ast.unparse(node.func), node


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_core_decides_without_clock_chance_or_outside_world() -> None:
    found = []
    for path in sources("testbed/core"):
        module = tree(path)
        found += [f"{place(path, line)}: imports {name}" for line, name in imports(module)
                  if name.split(".")[0] in BANNED_IN_CORE]
        found += [f"{place(path, line)}: reads a clock: {name}()" for line, name, _ in calls(module)
                  if tuple(name.split(".")[-2:]) in CLOCK_READS]
        found += [f"{place(path, line)}: {name}()" for line, name, _ in calls(module)
                  if name in ("open", "print", "input")]
        found += [f"{place(path, node.lineno)}: async" for node in ast.walk(module)
                  if isinstance(node, ast.AsyncFunctionDef | ast.Await)]
    assert not found, "\n".join(found)


def test_threads_live_in_the_docker_runtime_and_around_code_of_the_users_alone() -> None:
    """Virtual time knows no threads."""
    around_users_code = {ROOT / "testbed/experiment/toolkit/threads.py", ROOT / "testbed/testing/loop.py"}
    banned = {"threading", "concurrent.futures", "multiprocessing", "_thread"}
    found = []
    for path in sources():
        if path.parent == ROOT / "testbed/runtime" and path.name.startswith("docker") or path in around_users_code:
            continue
        module = tree(path)
        found += [f"{place(path, line)}: imports {name}" for line, name in imports(module) if name in banned]
        found += [f"{place(path, line)}: {name}()" for line, name, _ in calls(module)
                  if name.endswith(("asyncio.to_thread", "run_in_executor"))]
    assert not found, "\n".join(found)


def test_loops_take_time_and_chance_from_outside() -> None:
    """They run in virtual time: the event loop's clock, an injected wall clock, an injected random.Random."""
    found = []
    for path in sources(*LOOPS_OF_OURS):
        # Processes are composed in __main__ and _run, out of real clocks; a holder is outside every loop, and a
        # certificate's dates are made before there is one.
        if path.name in ("__main__.py", "holder.py", "certificates.py"):
            continue
        module = tree(path)
        composing = {id(inner) for node in module.body if getattr(node, "name", "") in ("_run", "main")
                     for inner in ast.walk(node)}
        aliases = {alias.asname or alias.name for node in ast.walk(module) if isinstance(node, ast.Import)
                   for alias in node.names if alias.name == "random"}
        for line, name, call in calls(module):
            clock = name in ("time.time", "time.time_ns", "time.sleep") or tuple(name.split(".")[-2:]) in CLOCK_READS
            owner, _, method = name.rpartition(".")
            chance = owner in aliases and (method != "Random" or not call.args)
            if (clock or chance) and id(call) not in composing:
                found.append(f"{place(path, line)}: {name}()")
    assert not found, "\n".join(found)


def test_no_shell() -> None:
    found = []
    for path in sources(*PACKAGES, "benchmarks", "dashboards", "compose"):
        for line, name, call in calls(tree(path)):
            if name in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
                        "asyncio.create_subprocess_shell"):
                found.append(f"{place(path, line)}: {name}()")
            found += [f"{place(path, line)}: {name}(shell=...)" for keyword in call.keywords if keyword.arg == "shell"
                      and not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)]
    assert not found, "\n".join(found)


def test_docker_is_imported_in_the_runtime_and_platforms_only() -> None:
    found = [f"{place(path, line)}: imports {name}" for path in sources()
             if not path.is_relative_to(ROOT / "testbed/runtime")
             and not path.is_relative_to(ROOT / "testbed/experiment/platforms")
             for line, name in imports(tree(path)) if name.split(".")[0] == "docker"]
    assert not found, "\n".join(found)


def test_locust_and_gevent_are_never_imported_by_us() -> None:
    """They patch the process they are imported in; Locust is a process of its own."""
    # These run inside Locust's process, by Locust's import of them; no other module of ours may import them.
    inside_locust = {"testbed/load/testbed_listener.py", "testbed/load/locust_user.py"}
    banned = ("testbed.load.testbed_listener", "testbed.load.locust_user")
    found = [f"{place(path, line)}: imports {name}" for path in sources()
             if path.relative_to(ROOT).as_posix() not in inside_locust
             for line, name in imports(tree(path)) if name.split(".")[0] in ("locust", "gevent") or name in banned]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("module", ["testbed.cli.main", "testbed.machines", "testbed.server", "testbed.node", "faults"])
def test_heavy_libraries_are_not_loaded_by_long_lived_processes(module: str) -> None:
    heavy = ("gevent", "locust", "numpy", "scipy", "altair", "vl_convert")
    program = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == "[]"


def tracked() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue


def test_no_address_of_a_registry_and_no_path_of_a_machine() -> None:
    # Written in pieces, so that this file does not name them either.
    registries = ["pypi" + ".org", "pythonhosted" + ".org", "registry." + "npmjs", "deb." + "debian.org",
                  "security." + "debian.org", "docker" + ".io/library", "ghcr" + ".io", "gcr" + ".io", "quay" + ".io",
                  "/opt/" + "wheels", "/opt/" + "pypi", "index-" + "url =", "--find-" + "links "]
    paths = ["/wo" + "rk/main", "/wo" + "rk/shared", "/ro" + "ot/", "/home/" + "user"]
    found = []
    for path, text in texts():
        for number, line in enumerate(text.splitlines(), 1):
            if "no-emit" in line:
                continue
            found += [f"{place(path, number)}: {word}" for word in registries + paths if word in line]
    assert not found, "\n".join(found)


def test_nothing_is_left_to_do_without_an_owner() -> None:
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\([a-z][\w-]*\))")
    found = [f"{place(path, number)}: {line.strip()}" for path, text in texts()
             if path.suffix in (".py", ".md", ".toml", ".yaml", ".c") and path != Path(__file__).resolve()
             for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]
    assert not found, "\n".join(found)


def test_files_are_short_and_say_what_they_are() -> None:
    """A module opens with what it decides; most files stay under 300 lines, none is longer than 700."""
    long = [f"{path.relative_to(ROOT)}: {count} lines" for path in sources()
            if (count := len(path.read_text().splitlines())) > 700]
    silent = [str(path.relative_to(ROOT)) for path in sources() if path.read_text().strip()
              and not ast.get_docstring(tree(path))]
    assert not long + silent, "\n".join(long + silent)
