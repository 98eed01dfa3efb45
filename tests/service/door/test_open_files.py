"""The bound on open files, in a process of its own: what it is raised to stays."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import resource
from service.door.open_files import room_for

resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(room_for({wanted}), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "said"),
    [
        (256, 4096, 1000, "1000 2024 4096"),
        (256, 4096, 8000, "3072 4096 4096"),
        (256, 1000, 8000, "500 1000 1000"),
        (4096, 4096, 100, "100 4096 4096"),
    ],
)
def test_the_bound_is_raised_as_far_as_it_may(soft: int, hard: int, wanted: int, said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CODE.format(soft=soft, hard=hard, wanted=wanted)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.stdout.strip() == said, ended.stderr
