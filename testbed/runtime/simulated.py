"""The simulated engine and host, on one machine in memory. See ``simulated_machine`` for what can be made to fail."""

from testbed.runtime.simulated_engine import SimulatedEngine
from testbed.runtime.simulated_host import SimulatedHost
from testbed.runtime.simulated_machine import Hiccups, SimulatedMachine

__all__ = ["Hiccups", "SimulatedEngine", "SimulatedHost", "SimulatedMachine"]
