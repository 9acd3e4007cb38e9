"""Damaged files raise what is meant for them; more of them by `python -m benchmarks.fuzz.run`."""

import mmap
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from benchmarks.fuzz import run
from benchmarks.fuzz.targets import TARGETS, Target

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the peak of memory anew"),
]
REPO = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("kind", "count"), [("pictures", 12_000), ("videos", 400), ("models", 3_000), ("tables", 2_000)]
)
def test_no_damaged_file_does_what_none_should(kind: str, count: int) -> None:
    assert not list(run.fuzz(kind, range(count)))


@pytest.mark.parametrize(
    ("kind", "refused"), [(kind, 2 * (kind == "pictures")) for kind in TARGETS]
)
def test_whole_files_are_opened(kind: str, refused: int) -> None:
    """But for two TIFFs that hold a reduced copy only."""
    files, errors = TARGETS[kind].make(), []
    for data in files:
        try:
            TARGETS[kind].open(data)
        except TARGETS[kind].expected as error:
            errors.append(str(error))
    assert len(errors) == refused < len(files), errors


def waste(_: bytes) -> int:
    # Not from malloc, which may have kept as much from tests before: that would be no growth.
    block = np.frombuffer(mmap.mmap(-1, 1100 * 2**20), dtype=np.uint8)
    block[::4096] = 1  # a byte a page: that is what takes memory
    return int(block[0])


def burn(_: bytes) -> None:
    end = time.process_time() + 1.1 * run.MAX_SECONDS
    while time.process_time() < end:
        pass


def fail(_: bytes) -> None:
    raise OverflowError("of a header")


def test_what_is_found_is_an_escape_a_hang_and_a_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run.TARGETS, "pictures", Target(list, fail, ()))  # type: ignore[arg-type]
    assert run._open("pictures", b"") == "OverflowError: of a header"
    monkeypatch.setitem(run.TARGETS, "pictures", Target(list, fail, (OverflowError,)))
    assert run._open("pictures", b"") == ""
    monkeypatch.setitem(run.TARGETS, "pictures", Target(list, waste, ()))
    monkeypatch.setattr(run, "MAX_SECONDS", 60)  # fresh memory may cost seconds of a busy machine
    assert run._open("pictures", b"").endswith(" MiB")
    monkeypatch.setattr(run, "MAX_SECONDS", 0.5)
    monkeypatch.setitem(run.TARGETS, "pictures", Target(list, burn, ()))
    assert run._open("pictures", b"").endswith(" s of a core")


def test_a_number_gives_the_same_file_each_time() -> None:
    made = [run.make_file("tables", number) for number in (1, 2, 1)]
    assert made[0] == made[2] != made[1]


def test_the_lines_of_libraries_stay_away(tmp_path: Path) -> None:
    code = (
        "from benchmarks.fuzz.run import make_file; from mspt.image.decode import decode_rgb\n"
        "from mspt.errors import ImageError; from contextlib import suppress\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "import sys; sys.modules['rawpy'] = None\n"  # LibRaw's libjpeg does write lines
        "for number in range(1500):\n"
        "    with suppress(ImageError): decode_rgb(make_file('pictures', number))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
