"""What goes wrong while building."""

from engines.errors import EngineError


class BuildError(EngineError):
    """A model cannot be built: one line with what was wanted, what was found and the remedy."""


class WrongRequestError(BuildError):
    """The arguments name something that is not there, or do not go together."""
