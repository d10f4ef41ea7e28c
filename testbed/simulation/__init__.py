"""The unmodified control plane, agents, faults and pulse in virtual time: seeded, single-threaded, checked after each
step."""
