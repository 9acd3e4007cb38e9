"""Progress on stderr: count, images/s, time left, failures; rows on stdout stay clean.

On a terminal it is one line, drawn again and again; in a log, a line every half minute.
"""

import sys
import time
from types import TracebackType
from typing import Self

import click

_REDRAW_S = 0.1  # between two drawings on a terminal
_LOG_S = 30.0  # between two lines of a log
_CLEAR = "\r\x1b[K"  # back to the line's start, and erase it


class Progress:
    """The line of one run of work."""

    def __init__(self, total: int, *, unit: str = "images", shown: bool = True) -> None:
        """Begin; nothing is drawn before the first update.

        Args:
            total: how many there are to do.
            unit: what they are.
            shown: whether to say anything at all.
        """
        self._total, self._unit, self._shown = total, unit, shown
        self._on_terminal = sys.stderr.isatty()
        self._begun: tuple[int, float] | None = None  # what was done at the first update, and when
        self._drawn = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown and self._on_terminal and self._drawn:
            click.echo(err=True)

    def update(self, done: int, failed: int = 0) -> None:
        """Say where the work stands, if it is time to."""
        now = time.monotonic()
        self._begun = self._begun or (done, now)  # a resumed run does not begin at nothing
        before, started = self._begun
        if not self._shown or not self._is_time(done, now, started):
            return
        self._drawn = now
        speed = (done - before) / (now - started) if now > started else 0.0
        line = describe(done, self._total, speed, failed, unit=self._unit)
        click.echo(_CLEAR + line if self._on_terminal else line, err=True, nl=not self._on_terminal)

    def _is_time(self, done: int, now: float, started: float) -> bool:
        if self._on_terminal:
            return now - self._drawn >= _REDRAW_S or done == self._total
        return now - (self._drawn or started) >= _LOG_S  # what is done sooner needs no word

    def log(self, line: str) -> None:
        """Print a line on stderr without spoiling the progress."""
        click.echo((_CLEAR if self._shown and self._on_terminal else "") + line, err=True)


def describe(done: int, total: int, speed: float, failed: int, *, unit: str = "images") -> str:
    """Return the line: `1200/20000 (6%), 74.3 images/s, 4:13 left, 3 not ok`.

    Args:
        done: how many are finished.
        total: how many there are, as far as is known.
        speed: per second; 0 while unknown.
        failed: how many rows are not ok.
        unit: what they are.
    """
    known = done <= total  # a video's header may promise too little
    parts = [f"{done}/{total} ({done / max(total, 1):.0%})" if known else f"{done}"]
    if speed:
        parts.append(f"{speed:.1f} {unit}/s")
        if known:
            parts.append(f"{_clock(round((total - done) / speed))} left")
    if failed:
        parts.append(f"{failed} not ok")
    return ", ".join(parts)


def _clock(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
