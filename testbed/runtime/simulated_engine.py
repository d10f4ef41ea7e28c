"""A container engine that exists in memory, as awkward as a real one.

Removal is asynchronous and names conflict meanwhile; events get lost, come late and end with the stream; calls hang
until their deadline; a create may work without an answer. Same protocol, same deadlines, same errors as
``docker.DockerEngine``: a difference that the conformance tests show is a bug here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial

from testbed.errors import EngineError, EngineUnavailable, NameConflict, NoSuchContainer, NoSuchImage
from testbed.runtime.assets import ImageState, NetworkState
from testbed.runtime.containers import ContainerSpec, ContainerState, ExecResult, Limits
from testbed.runtime.protocol import EngineEvent, EngineVersion
from testbed.runtime.simulated_behaviour import argv_of
from testbed.runtime.simulated_exec import SimulatedExec, run_inside, run_main
from testbed.runtime.simulated_machine import IDLE_CPUS, Hiccups, SimulatedContainer, SimulatedMachine
from testbed.runtime.simulated_programs import known
from testbed.runtime.simulated_volumes import SimulatedVolumes
from testbed.runtime.usage import ContainerUsage

_CALL_S = 10.0
_START_S = 30.0
_REMOVE_S = 30.0
_INSPECT_S = 3.0
_CONFLICT_S = 10.0
_POLL_S = 0.02
_RECONNECT_S = (0.05, 0.5)
_SIGNALS = {"SIGKILL": 9, "SIGTERM": 15, "SIGINT": 15, "SIGQUIT": 15, "SIGHUP": 1, "SIGUSR1": 10}


class SimulatedEngine(SimulatedVolumes):
    """One client of the machine's engine; many may exist. ``who``: under what name its signals are noted. ``own``: what
    is wrong with the engine of a node that has its own: there all nodes' containers are the machine's, and only what
    the node's agent is answered differs."""

    def __init__(self, machine: SimulatedMachine, who: str = "", own: Hiccups | None = None) -> None:
        self.machine = machine
        self.who = who
        self._own = own or Hiccups()
        self._starts = asyncio.Semaphore(4)

    # --- being asked

    async def _asked(self, what: str = "call", *, container: str = "", timeout_s: float = _CALL_S) -> None:
        """The call's way: it takes its time, or is not answered."""
        hiccups = self.machine.hiccups
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        await asyncio.sleep(self.machine.latency_s(what))
        if hiccups.down or self._own.down:
            raise EngineUnavailable("the container engine cannot be reached: connection refused")
        while hiccups.silent or self._own.silent or container in hiccups.hung:
            if loop.time() >= deadline:
                raise EngineUnavailable(f"the container engine did not answer within {timeout_s:g} s")
            await asyncio.sleep(min(0.1, max(0.0, deadline - loop.time())))

    def _get(self, container: str) -> SimulatedContainer:
        found = self.machine.find(container)
        if found is None:
            raise NoSuchContainer(f"No such container: {container}")
        return found

    def _id(self, container: str) -> str:
        found = self.machine.find(container)
        return found.id if found is not None else container

    async def version(self) -> EngineVersion:
        await self._asked()
        return EngineVersion("20.10-simulated", "1.41", 1, "cgroupfs", "simulated")

    async def close(self) -> None:
        return

    # --- what there is

    async def list(self, labels: Mapping[str, str], *, running_only: bool = False) -> tuple[ContainerState, ...]:
        await self._asked()
        states = (container.state() for container in self.machine.containers.values())
        return tuple(
            state for state in states
            if all(state.labels.get(key) == value for key, value in labels.items())
            and (state.running or not running_only)
        )

    async def inspect(self, container: str) -> ContainerState:
        await self._asked(container=self._id(container))
        return self._get(container).state()

    # --- a container's life

    async def create(self, spec: ContainerSpec) -> str:
        return await self.machine.by_itself(self._create_or_wait(spec))

    async def _create_or_wait(self, spec: ContainerSpec) -> str:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _CONFLICT_S
        while True:
            await self._asked("create")
            holder = next((item for item in self.machine.containers.values() if item.spec.name == spec.name), None)
            if holder is None:
                break
            if not holder.removing or loop.time() > deadline:
                raise NameConflict(f'Conflict. The container name "/{spec.name}" is already in use')
            await asyncio.sleep(_POLL_S)
        container = self._create(spec)
        if self.machine.draw.random() < self.machine.hiccups.lost_create_answers:
            await asyncio.sleep(_CALL_S)  # then the name is looked up, and found
            await self._asked(timeout_s=_INSPECT_S)
        return container.id

    def _create(self, spec: ContainerSpec) -> SimulatedContainer:
        image = self.machine.images.get(spec.image)
        if image is None:
            raise NoSuchImage(f"image {spec.image} is not on this engine: No such image: {spec.image}")
        try:
            mounts = self.machine.mounted(spec.mounts)
        except KeyError as missing:
            raise EngineError(f"get {missing}: no such volume") from missing
        container = SimulatedContainer(
            self.machine.new_id(), spec, image.id, self.machine.clock.now(), limits=spec.limits, mounts=mounts,
        )
        container.files.meet = partial(self.machine.meet_file, container)
        self.machine.containers[container.id] = container
        self.machine.emit("create", container)
        return container

    async def start(self, container: str) -> ContainerState:
        return await self.machine.by_itself(self._start(container))

    async def _start(self, container: str) -> ContainerState:
        async with self._starts, self._counted():
            found = self.machine.find(container)
            joined = found is not None and not found.spec.address
            what = "joined" if joined else "sandbox"
            await self._asked(what, container=self._id(container), timeout_s=_START_S)
            if (crowd := self.machine.starting / self.machine.parallel_starts) > 1:
                await asyncio.sleep(self.machine.latency_s(what) * (crowd - 1))
            found = self._get(container)
            if found.removing:
                raise EngineError(f"container {found.id} is marked for removal and cannot be started")
            if not found.running:
                self._refuse_unjoinable(found)
                self._refuse_unknown_program(found)
                self.machine.run(found, run_main)
            if self.machine.draw.random() < self.machine.hiccups.failed_start_answers:
                raise EngineUnavailable(f"the container engine did not answer within {_START_S:g} s")
            return found.state()

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self.machine.starting += 1
        try:
            yield
        finally:
            self.machine.starting -= 1

    def _refuse_unjoinable(self, container: SimulatedContainer) -> None:
        network = container.spec.network
        if network.startswith("container:"):
            sandbox = self.machine.find(network[10:])
            if sandbox is None or not sandbox.running:
                raise EngineError(f"cannot join network of a non running container: {network[10:]}")
        if container.spec.pid_mode.startswith("container:"):
            joined = self.machine.find(container.spec.pid_mode[10:])
            if joined is None or not joined.running:
                raise EngineError(f"cannot join PID of a non running container: {container.spec.pid_mode[10:]}")
        taken = container.spec.address and any(
            other is not container and other.running and other.spec.address == container.spec.address
            for other in self.machine.containers.values()
        )
        if taken:
            raise EngineError("Address already in use")

    @staticmethod
    def _refuse_unknown_program(container: SimulatedContainer) -> None:
        argv = argv_of(container.spec)
        if argv and not known(argv):
            container.status, container.exit_code = "exited", 127
            raise EngineError(f'OCI runtime create failed: exec: "{argv[0]}": executable file not found in $PATH')

    async def signal(self, container: str, signal: str) -> None:
        found = self.machine.find(container)
        if found is not None:
            found.asked.append((asyncio.get_running_loop().time(), self.who))
        await self._asked(container=self._id(container))
        found = self.machine.find(container)
        if found is not None and found.running and found.process is not None:
            number = int(signal) if signal.isdecimal() else _SIGNALS.get(signal, 0)
            self.machine.emit("kill", found)
            self.machine.send_signal(found.process, number, self.who)

    async def pause(self, container: str) -> None:
        await self._asked(container=self._id(container))
        found = self._get(container)
        if not found.running:
            raise EngineError(f"Container {found.id} is not running")
        if found.status != "paused":
            found.status = "paused"
            self.machine.frozen.add(found.cgroup)
            self.machine.emit("pause", found)

    async def unpause(self, container: str) -> None:
        await self._asked(container=self._id(container))
        found = self._get(container)
        if found.status == "paused":
            found.status = "running"
            self.machine.thaw(found.cgroup)
            self.machine.emit("unpause", found)

    async def remove(self, container: str) -> None:
        """What is asked for while another removal runs waits for that one."""
        identity = self._id(container)
        await self._asked(container=identity)
        found = self.machine.find(identity)
        if found is None:
            return
        if not found.removing:
            found.removing = True
            self._begin_removal(found)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _REMOVE_S
        while found.id in self.machine.containers:
            if loop.time() > deadline:
                raise EngineUnavailable(f"{container} is being removed for more than {_REMOVE_S:g} s")
            await asyncio.sleep(_POLL_S)

    def _begin_removal(self, found: SimulatedContainer) -> None:
        machine = self.machine
        if found.cgroup in machine.frozen:
            machine.thaw(found.cgroup)
        if found.running and found.process is not None:
            machine.send_signal(found.process, 9, self.who)
        if machine.draw.random() < machine.hiccups.stuck_removals:
            return
        machine.later(machine.latency_s("remove"), self._finish_removal, found)

    def _finish_removal(self, found: SimulatedContainer) -> None:
        if found.running:  # frozen from outside: the engine cannot kill it
            self.machine.later(0.1, self._finish_removal, found)
        else:
            self.machine.drop(found)

    # --- inside a container

    async def exec(
        self, container: str, argv: tuple[str, ...], *, timeout_s: float, limit_bytes: int = 10240
    ) -> ExecResult:
        await self._asked(container=self._id(container))
        found = self._get(container)
        if not found.running or found.process is None:
            raise EngineError(f"Container {found.id} is not running")
        if found.status == "paused":
            raise EngineError(f"Container {container} is paused, unpause the container before exec")
        if not known(argv):
            raise EngineError(f'{argv[0]} could not be run: exec: "{argv[0]}": executable file not found in $PATH')
        spent_s = self.machine.latency_s("exec")
        return await run_inside(self.machine, found.process, found, argv, timeout_s, limit_bytes, spent_s)

    def exec_stream(self, container: str, argv: tuple[str, ...], *, stdin: bool, tty: bool) -> SimulatedExec:
        async def find() -> SimulatedContainer:
            await self._asked(container=self._id(container))
            return self._get(container)

        return SimulatedExec(self.machine, find, argv)

    async def logs(
        self, container: str, *, follow: bool = False, tail: int | None = None, since: datetime | None = None,
        timestamps: bool = False,
    ) -> AsyncIterator[bytes]:
        await self._asked(container=self._id(container))
        found = self._get(container)
        lines = [line for line in found.logs if since is None or line[0] >= since]
        position = len(found.logs)
        for moment, line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
            yield (moment.isoformat().encode() + b" " if timestamps else b"") + line
        while follow and (found.running or position < len(found.logs)) and found.id in self.machine.containers:
            if position == len(found.logs):
                found.grown.clear()
                await found.grown.wait()
                continue
            moment, line = found.logs[position]
            position += 1
            yield (moment.isoformat().encode() + b" " if timestamps else b"") + line

    async def events(self, labels: Mapping[str, str]) -> AsyncIterator[EngineEvent]:
        since_ns = int(self.machine.clock.now().timestamp() * 1e9)
        machine = self.machine
        while True:
            if machine.hiccups.down or machine.hiccups.silent or self._own.down or self._own.silent:
                await asyncio.sleep(0.2)
                continue
            queue: asyncio.Queue[EngineEvent | None] = asyncio.Queue()
            machine.readers.append(queue)
            try:
                yield EngineEvent("reconnect", "", {}, 0)
                for event in [event for event in machine.history if event.time_ns > since_ns]:
                    queue.put_nowait(event)
                while (received := await queue.get()) is not None and not self._own.down:
                    while self._own.silent:  # noqa: ASYNC110 - scenarios set it
                        await asyncio.sleep(_POLL_S)
                    since_ns = max(since_ns, received.time_ns)
                    if all(received.labels.get(key) == value for key, value in labels.items()):
                        yield received
            finally:
                if queue in machine.readers:
                    machine.readers.remove(queue)
            await asyncio.sleep(machine.draw.uniform(*_RECONNECT_S))

    async def usage(self, container: str) -> ContainerUsage:
        await self._asked(container=self._id(container))
        found = self._get(container)
        if not found.running:
            return ContainerUsage(0.0, 0)
        cpus, held_bytes = self.machine.damage.load_of(found.cgroup)
        return ContainerUsage(self.machine.age_s(found) * (IDLE_CPUS + cpus), found.memory_bytes + held_bytes)

    async def written_bytes(self, container: str) -> int:
        await self._asked(container=self._id(container))
        return self._get(container).files.written_bytes

    async def update_limits(self, container: str, limits: Limits) -> None:
        await self._asked(container=self._id(container))
        self._get(container).limits = limits

    # --- images and networks

    async def image(self, reference: str) -> ImageState:
        await self._asked()
        if reference not in self.machine.images:
            raise NoSuchImage(f"No such image: {reference}")
        return self.machine.images[reference]

    async def images(self, labels: Mapping[str, str] | None = None) -> tuple[ImageState, ...]:
        await self._asked()
        wanted = (labels or {}).items()
        return tuple(
            image for image in self.machine.images.values()
            if all(image.labels.get(key) == value for key, value in wanted)
        )

    async def pull(self, reference: str) -> None:
        await self._asked()
        host, _, name = reference.partition("/")
        if (registry := self.machine.registry(host)) is not None:
            await self._pull_from(registry, reference, name)
        elif reference not in self.machine.images:
            raise NoSuchImage(f"{reference} cannot be pulled: no registry can be reached")

    async def _pull_from(self, registry: SimulatedContainer, reference: str, name: str) -> None:
        """A registry of this machine has what the machine has, under the same names."""
        try:
            if not await self._ask_registry(registry, reference, name):
                raise NoSuchImage(f"{reference} cannot be pulled: manifest unknown")
        except EngineError as error:
            raise NoSuchImage(f"{reference} cannot be pulled: {error.message}") from error
        self.machine.add_image(reference)

    async def _ask_registry(self, registry: SimulatedContainer, reference: str, name: str) -> bool:
        """Raises: EngineError when it gives no answer."""
        try:
            if not registry.running:
                raise ConnectionRefusedError("connection refused")
            await asyncio.sleep(self.machine.damage.meet_pull(registry.id, reference))
        except OSError as error:
            raise EngineError(str(error)) from error
        except LookupError:
            return False
        return name in self.machine.images

    async def in_registry(self, reference: str) -> bool:
        await self._asked()
        host, _, name = reference.partition("/")
        registry = self.machine.registry(host)
        if registry is None:
            raise EngineError(f"no registry at {host}")
        return await self._ask_registry(registry, reference, name)

    async def create_network(
        self, name: str, *, subnet: str, gateway: str, bridge: str, labels: Mapping[str, str], ip_range: str = "",
    ) -> str:
        await self._asked()
        if any(subnet in network.subnets for network in self.machine.networks.values()):
            raise EngineError("Pool overlaps with other one on this address space")
        if name in self.machine.networks:
            raise EngineError(f"network with name {name} already exists")
        network = NetworkState(self.machine.new_id(), name, (subnet,), dict(labels))
        self.machine.networks[name] = network
        return network.id

    async def networks(self, labels: Mapping[str, str] | None = None) -> tuple[NetworkState, ...]:
        await self._asked()
        wanted = (labels or {}).items()
        return tuple(
            network for network in self.machine.networks.values()
            if all(network.labels.get(key) == value for key, value in wanted)
        )

    async def remove_network(self, name: str) -> None:
        await self._asked()
        for found in [item for item in self.machine.networks.values() if name in (item.name, item.id)]:
            if any(item.running and item.spec.network == found.name for item in self.machine.containers.values()):
                raise EngineError(f"error while removing network: network {name} has active endpoints")
            del self.machine.networks[found.name]
