"""Cores and memory that a process may use, and memory between photos and steps."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mspt import parallel
from mspt.inference.images import pixels_held
from mspt.parallel import Budget, freed_memory_kept, map_in_order, usable_cores, usable_memory

FAULTS = """
import resource
from mspt.parallel import keep_freed_memory

if {kept}:
    keep_freed_memory()
counts = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 60_000_000  # taken, written, freed
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(counts[-1])
"""


def page_faults(*, kept: bool) -> int:
    """Return the page faults of taking 60 MB that were freed a moment ago."""
    code = FAULTS.format(kept=kept)
    return int(subprocess.check_output([sys.executable, "-c", code], text=True))


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_taken_again_without_page_faults() -> None:
    returned, kept = page_faults(kept=False), page_faults(kept=True)
    if returned < 1000:
        pytest.skip("this C library keeps freed memory by itself")
    assert kept < returned / 10


AFTERWARDS = """
import resource
from mspt.parallel import freed_memory_kept

with freed_memory_kept(), freed_memory_kept():
    b"x" * 200_000_000
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""


SLOWED = """
import resource
from mspt.parallel import freed_memory_kept

with freed_memory_kept():
    pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    b"x" * 8_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_afterwards_large_blocks_cost_the_process_no_more_than_before() -> None:
    faults = int(subprocess.check_output([sys.executable, "-c", SLOWED], text=True))
    assert faults < 10 * 8_000_000 / 4096, "fifty blocks of 8 MB, each cleared anew"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_afterwards_the_memory_is_given_back() -> None:
    held_kib = int(subprocess.check_output([sys.executable, "-c", AFTERWARDS], text=True))
    assert held_kib < 100_000


def test_keeping_memory_changes_nothing_that_is_computed() -> None:
    with freed_memory_kept():
        assert sum(range(1000)) == 499500


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without limits, whose process is in the group /job/one."""
    monkeypatch.setattr(parallel, "_CGROUP_ROOT", tmp_path / "cgroup")
    monkeypatch.setattr(parallel, "_CGROUP_OF_PROCESS", tmp_path / "self")
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    (tmp_path / "self").write_text("0::/job/one\n")
    (tmp_path / "cgroup/job/one").mkdir(parents=True)
    return tmp_path / "cgroup"


@pytest.mark.parametrize(
    ("group", "quota", "cores"),
    [
        ("job/one", "200000 100000", 2),  # docker --cpus 2
        ("job/one", "150000 100000", 1),  # threads of one and a half cores would be throttled
        ("job/one", "20000 100000", 1),  # never none
        ("job", "300000 100000", 3),  # a group around it
        (".", "400000 100000", 4),  # what a container sees as its root
        ("job/one", "max 100000", 16),
        ("job/one", "nonsense", 16),
    ],
)
def test_a_quota_of_version_2_counts(cgroups: Path, group: str, quota: str, cores: int) -> None:
    (cgroups / group / "cpu.max").write_text(f"{quota}\n")
    assert usable_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("250000", 2), ("-1", 16)])
def test_a_quota_of_version_1_counts(cgroups: Path, tmp_path: Path, quota: str, cores: int) -> None:
    (tmp_path / "self").write_text("4:memory:/x\n3:cpu,cpuacct:/job\n")
    folder = cgroups / "cpu,cpuacct/job"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text(quota)
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores() == cores


def test_without_control_groups_the_affinity_counts(cgroups: Path, tmp_path: Path) -> None:
    (tmp_path / "self").unlink()
    assert usable_cores() == 16


def test_a_limit_on_memory_counts(cgroups: Path) -> None:
    whole = usable_memory()
    (cgroups / "job/one/memory.max").write_text("max\n")
    assert usable_memory() == whole
    (cgroups / "job/memory.max").write_text("123456789\n")
    assert usable_memory() == 123456789


def test_items_that_weigh_much_are_not_taken_far_ahead() -> None:
    taken = list[int]()

    def items() -> Iterator[int]:
        for item in range(50):
            taken.append(item)
            yield item

    def ahead(weight: int, most: int) -> int:
        taken.clear()
        results = map_in_order(
            lambda item: item, items(), workers=4, weigh=lambda _: weight, most=most
        )
        farthest = 0
        for done, item in enumerate(results, 1):
            assert item == done - 1
            farthest = max(farthest, len(taken) - done)
        return farthest

    assert ahead(0, 0) == 15, "four for each worker, less the one that is out"
    assert ahead(10, 35) == 3, "three weigh 30, and one more is known to weigh too much"
    assert ahead(100, 35) == 0, "what weighs more than all goes alone"


def test_frames_wait_within_the_pixels_that_may_be_held() -> None:
    assert pixels_held(np.zeros((20, 30, 3), np.uint8)) == 600
    assert pixels_held("a.jpg") == pixels_held(b"bytes") == 0


def test_a_budget_is_never_exceeded_and_nobody_waits_for_ever() -> None:
    budget, lock = Budget(10), threading.Lock()
    held = most = 0

    def use(amount: int) -> None:
        nonlocal held, most
        with budget.share() as take:
            take(amount)
            with lock:
                held += amount
                most = max(most, held)
            with lock:
                held -= amount

    amounts = [3, 4, 5, 10, 1] * 40
    threads = [threading.Thread(target=use, args=(amount,)) for amount in amounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in threads)
    assert most <= 10


def test_what_exceeds_the_whole_budget_goes_alone() -> None:
    with Budget(10).share() as take:
        take(1000)  # a photo larger than the budget is scored, one at a time
