"""How many CPU cores this process may use: the affinity mask and the cgroup quota, whichever is less.

Sources: Linux kernel documentation, "Control Group v2" (cpu.max) and "CFS Bandwidth Control" (cpu.cfs_quota_us).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_cores(
    *,
    cgroups: Path = Path("/sys/fs/cgroup"),
    membership: Path = Path("/proc/self/cgroup"),
    affinity: Callable[[], int] = _affinity,
) -> float:
    """Cores, fractions included, that this process may use. `membership` lists the cgroups it is in."""
    return min([float(affinity()), *_quotas(cgroups, membership)])


def threads_per_instance(cores: float, instances: int) -> int:
    """CPU threads for each of `instances` engine instances that share `cores`; at least 1."""
    return max(1, int(cores / max(1, instances)))


def _quotas(cgroups: Path, membership: Path) -> Iterator[float]:
    """The quota of every cgroup from the process's own up to the root, in cores."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        hierarchy, controllers, path = line.split(":", 2)
        if hierarchy == "0":
            root, read = cgroups, _quota_v2
        elif "cpu" in controllers.split(","):
            root, read = _v1_root(cgroups, controllers), _quota_v1
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        for folder in (own, *own.parents):
            quota = read(root / folder)
            if quota is not None:
                yield quota


def _v1_root(cgroups: Path, controllers: str) -> Path:
    mounted = cgroups / controllers
    return mounted if mounted.is_dir() else cgroups / "cpu"


def _quota_v2(folder: Path) -> float | None:
    words = _read(folder / "cpu.max").split()
    if len(words) != 2 or words[0] == "max":
        return None
    return int(words[0]) / int(words[1])


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
