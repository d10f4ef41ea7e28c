"""Holds nothing: the whole path of an injection without the damage."""


def hold(plan, ready, over):
    ready("nothing, as it should")
    over.wait()


def clear(plan):
    """There is nothing."""
