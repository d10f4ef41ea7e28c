"""Probe kinds. They only sample; what samples mean is ``testbed.core.probing``. Plug-ins: entry points ``testbed.probes``."""
