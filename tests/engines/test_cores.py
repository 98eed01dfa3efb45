from pathlib import Path

import pytest

from engines.cores import available_cores, threads_per_instance


class Machine:
    """A made-up /sys/fs/cgroup and /proc/self/cgroup."""

    def __init__(self, folder: Path) -> None:
        self.cgroups = folder / "cgroup"
        self.membership = folder / "membership"
        self.cgroups.mkdir()

    def write(self, path: str, text: str) -> None:
        target = self.cgroups / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def cores(self, affinity: int) -> float:
        return available_cores(cgroups=self.cgroups, membership=self.membership, affinity=lambda: affinity)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_v2_quota(machine: Machine) -> None:
    machine.membership.write_text("0::/\n")
    machine.write("cpu.max", "150000 100000\n")
    assert machine.cores(8) == 1.5


def test_v2_without_quota_leaves_the_affinity(machine: Machine) -> None:
    machine.membership.write_text("0::/\n")
    machine.write("cpu.max", "max 100000\n")
    assert machine.cores(3) == 3


def test_v2_takes_the_tightest_ancestor(machine: Machine) -> None:
    machine.membership.write_text("0::/kube/pod/container\n")
    machine.write("kube/cpu.max", "800000 100000\n")
    machine.write("kube/pod/cpu.max", "200000 100000\n")
    machine.write("kube/pod/container/cpu.max", "400000 100000\n")
    assert machine.cores(16) == 2


def test_affinity_tighter_than_quota(machine: Machine) -> None:
    machine.membership.write_text("0::/\n")
    machine.write("cpu.max", "800000 100000\n")
    assert machine.cores(2) == 2


def test_v1_quota(machine: Machine) -> None:
    machine.membership.write_text("12:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n")
    machine.write("cpu,cpuacct/cpu.cfs_quota_us", "50000\n")
    machine.write("cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert machine.cores(8) == 0.5


def test_v1_without_quota(machine: Machine) -> None:
    machine.membership.write_text("4:cpu:/\n")
    machine.write("cpu/cpu.cfs_quota_us", "-1\n")
    machine.write("cpu/cpu.cfs_period_us", "100000\n")
    assert machine.cores(8) == 8


def test_no_cgroups_at_all(machine: Machine) -> None:
    assert machine.cores(4) == 4


def test_this_machine() -> None:
    assert available_cores() > 0


@pytest.mark.parametrize(
    ("cores", "instances", "threads"), [(8, 1, 8), (8, 3, 2), (2, 2, 1), (2, 5, 1), (0.5, 1, 1), (3.9, 2, 1), (4, 0, 4)]
)
def test_threads_per_instance(cores: float, instances: int, threads: int) -> None:
    assert threads_per_instance(cores, instances) == threads
