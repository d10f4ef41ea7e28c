"""A cluster for tests, with blocking calls: what the pytest fixture ``testbed`` gives, and ``testbed.toolkit`` uses."""
