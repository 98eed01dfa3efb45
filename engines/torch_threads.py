"""How PyTorch's threads wait; to be said before torch is imported."""

import os

_SPINS = "20000"


def spin_briefly() -> None:
    """Tells OpenMP's threads to spin for some 0.3 ms after their work, unless the environment says how they wait.

    By default they spin for milliseconds and starve the event loop, while without any spinning a small batch takes two
    to three times as long. Said by GOMP_SPINCOUNT; left alone are it and OMP_WAIT_POLICY where they are set.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
