"""The machine room: processes, power, cables; nothing about workloads."""
