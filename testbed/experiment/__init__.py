"""Experiments: what is asked (kind), how it is carried out (runner), what it meant (timeline, statistics, result)."""
