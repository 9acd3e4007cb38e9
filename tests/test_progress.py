"""Progress: what it says and when, on a terminal and in a log."""

import os
import pty
import select
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import ORIGINAL

from mspt.cli import progress as terminal
from mspt.cli.progress import Progress, describe


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((1200, 20000, 74.3, 0), "1200/20000 (6%), 74.3 images/s, 4:13 left"),
        ((1200, 20000, 1.0, 3), "1200/20000 (6%), 1.0 images/s, 5:13:20 left, 3 not ok"),
        ((0, 9, 0.0, 0), "0/9 (0%)"),
        ((39, 1, 5.0, 0), "39, 5.0 images/s"),
        ((9, 9, 2.0, 1), "9/9 (100%), 2.0 images/s, 0:00 left, 1 not ok"),
    ],
)
def test_the_line_says_count_speed_time_left_and_failures(
    arguments: tuple[int, int, float, int], line: str
) -> None:
    assert describe(*arguments) == line


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(terminal, "time", made)
    return made


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a stderr that is a terminal gets."""
    lines: list[str] = []
    a_terminal = SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(terminal, "sys", a_terminal)
    monkeypatch.setattr(terminal.click, "echo", lambda text="", **_: lines.append(text))
    return lines


def test_a_resumed_run_does_not_count_what_was_done_before(drawn: list[str], clock: Clock) -> None:
    with Progress(1000, unit="photos") as progress:
        for clock.now, done in ((100.0, 900), (110.0, 950)):
            progress.update(done)
    assert drawn[0].endswith("900/1000 (90%)")
    assert drawn[1].endswith("950/1000 (95%), 5.0 photos/s, 0:10 left")
    assert drawn[2] == ""


def test_it_is_not_redrawn_for_every_image_but_for_the_last(drawn: list[str], clock: Clock) -> None:
    clock.now = 200.0
    with Progress(100) as progress:
        for done in range(1, 101):
            progress.update(done)
    assert len(drawn) == 3, "the first, the last and the end of the line"
    assert "100/100" in drawn[1]


def test_a_log_gets_a_line_every_half_minute(
    drawn: list[str], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_terminal = SimpleNamespace(stderr=SimpleNamespace(isatty=lambda: False))
    monkeypatch.setattr(terminal, "sys", no_terminal)
    with Progress(1000) as progress:
        for done in range(1, 101):
            clock.now = done  # a second each
            progress.update(done)
    assert drawn == [
        "31/1000 (3%), 1.0 images/s, 16:09 left",
        "61/1000 (6%), 1.0 images/s, 15:39 left",
        "91/1000 (9%), 1.0 images/s, 15:09 left",
    ]


def run_in_terminal(*command: str) -> str:
    """Return what a command draws on a terminal that is its stderr."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux says so when the other end is closed
                break
            shown += part
        process.wait()
    os.close(ours)
    return shown.decode()


def test_a_terminal_sees_it_and_a_pipe_does_not() -> None:
    command = (sys.executable, "-m", "mspt", "score", str(ORIGINAL), "gone.jpg")
    shown = run_in_terminal(*command)
    assert "2/2 (100%)" in shown
    assert "1 not ok" in shown
    assert "gone.jpg: cannot be read: No such file" in shown
    piped = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "%" not in piped.stderr
