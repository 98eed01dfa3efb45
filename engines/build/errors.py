"""What goes wrong while building."""

from engines.errors import EngineError


class BuildError(EngineError):
    """A model cannot be built: one line with what was wanted, what was found and the remedy."""
