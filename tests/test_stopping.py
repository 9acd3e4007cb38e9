"""Stopping politely: what is scored is kept, a slow picture is not waited for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from mspt.cli.stopping import listening
from mspt.parallel import map_in_order

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_what_is_on_its_way_ends_and_nothing_more_is_begun(name: str) -> None:
    begun, ended = [], []

    def work(item: int) -> int:
        begun.append(item)
        if item == 5:
            os.kill(os.getpid(), getattr(signal, name))
        time.sleep(0.02)
        return item

    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(KeyboardInterrupt), listening() as stop:
        ended.extend(map_in_order(work, stop.until(range(1000)), workers=2))
    assert ended == sorted(begun), "all that was begun is kept"
    assert 6 <= len(ended) < 30
    assert signal.getsignal(getattr(signal, name)) == before


SLOW = """
import os, signal, sys, threading, time
from mspt.cli.stopping import leave_slow_threads, listening
from mspt.parallel import map_in_order

is_begun = threading.Event()

def work(item):
    if item == 3:
        is_begun.set()
        time.sleep(60)
    return item

try:
    with listening() as stop:
        for done in map_in_order(work, stop.until(range(1000)), workers=2):
            print(done, flush=True)
            if done == 2:
                is_begun.wait()  # else a second signal may cancel it, and nothing is slow
                os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    leave_slow_threads()
sys.exit("it waited")
"""


@pytest.mark.parametrize("is_impatient", [False, True])
def test_a_slow_picture_is_not_waited_for(is_impatient: bool) -> None:
    code = SLOW
    if is_impatient:  # a second Ctrl-C
        code = code.replace(
            "signal.SIGTERM)", "signal.SIGTERM); signal.raise_signal(signal.SIGINT)"
        )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert (done.stdout.split(), done.returncode) == (["0", "1", "2"], 130), done.stderr
    assert time.monotonic() - begun < 25


def test_items_that_fail_lose_nothing_that_was_begun() -> None:
    def failing() -> Iterator[int]:
        yield from range(5)
        raise ValueError("the list ends here")

    found = []
    with pytest.raises(ValueError, match="the list ends here"):
        found.extend(map_in_order(lambda item: item, failing(), workers=2))
    assert found == [0, 1, 2, 3, 4]
