"""The two tables of docs/comparison.md: recovery on several platforms, and ways to ship a version.

``make compare`` runs what is missing in its results file and writes the page; it can be broken off and begun again at
any time. Runs of one experiment are interleaved over its platforms, so that what the machine does besides hits all
alike.
"""
