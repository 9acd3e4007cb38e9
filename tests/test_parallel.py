"""Memory between steps: what training frees stays at hand."""

import subprocess
import sys

import pytest

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
