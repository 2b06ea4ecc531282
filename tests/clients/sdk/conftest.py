"""The stand is one for the whole run."""

from kit import mark, stand  # noqa: F401
