"""Losses as numbers in, numbers out: declarations, rules, graphs, exact reductions.

Nothing in this package knows of HTTP, JSON or pydantic.
"""

__version__ = "0.1.0"
