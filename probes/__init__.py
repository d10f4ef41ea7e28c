"""Probe kinds (entry points ``testbed.probes``). They only sample; ``testbed.core.probing`` says what samples mean."""
