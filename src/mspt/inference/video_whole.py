"""Is a video whole? Which frames are due, and whether pictures are missing.

In:   the packets of a file and the times of its frames, in order.
Out:  DecodeError where pictures are missing; FFmpeg passes over that in silence. A pause, as screen
      recordings have it, is no damage: the file holds nothing in between. What was cut out between
      two clusters, so that the seam fits, cannot be told from a pause.
"""

import math
from typing import Any

from mspt.errors import DecodeError

_GAP_BYTES = 2**12  # between two packets: headers, clusters' heads and tables take less


class Packets:
    """Counts the packets of a video's pictures, and notices where bytes between them are lost."""

    def __init__(self, stream: int) -> None:
        """Take the number of the pictures' stream."""
        self._stream = stream
        self._sent = 0
        self._end = 0  # of the packet before, in the file
        self._has_hole = False

    @property
    def whole(self) -> int | None:
        """How many pictures were sent; None if some are known to be missing."""
        return None if self._has_hole else self._sent

    def note(self, packet: Any) -> None:  # noqa: ANN401 - av's
        """Take the next packet of any stream."""
        if not packet.size:  # the end
            return
        self._sent += packet.stream.index == self._stream
        if packet.is_corrupt or packet.pos is None:
            self._has_hole = True
            return
        if self._end and packet.pos - self._end > _GAP_BYTES + packet.size // 10:
            self._has_hole = True
        self._end = max(self._end, packet.pos + packet.size)


class Clock:
    """Says which frames are due, and whether there were enough of them."""

    _SLACK_S = 1.0  # by which headers and frames may honestly disagree

    def __init__(self, every_s: float) -> None:
        """Take the seconds from one wanted frame to the next."""
        self._every_s = every_s
        self._first: float | None = None
        self._wanted = 0.0
        self._end_s = 0.0  # until when the latest frame is to be shown
        self._gap = (0.0, 0.0)  # the longest time without a frame: since when, how long
        self.time_s = 0.0  # of the latest frame, from the first one

    def is_due(self, time: float, shown_s: float) -> bool:
        """Take the next frame's time and how long it is to be shown; 0 if that is unknown.

        Tells whether it is the first at or after a wanted time.
        """
        if self._first is None:
            self._first = time
        self.time_s = time - self._first
        gap = (self._end_s, self.time_s - self._end_s)
        self._gap = max(self._gap, gap, key=lambda gap: gap[1])
        self._end_s = self.time_s + shown_s
        if self.time_s + 1e-6 < self._wanted:
            return False
        self._wanted = (math.floor(self.time_s / self._every_s + 1e-6) + 1) * self._every_s
        return True

    def check_whole(self, duration_s: float, *, all_came: bool = False) -> None:
        """Raise DecodeError if frames are missing; FFmpeg itself passes over damage in silence.

        Args:
            duration_s: of the pictures, as the header tells; 0 if it does not.
            all_came: whether there were as many frames as the header tells, or as were sent: then
                a frame that stays long is meant to.
        """
        if self._first is None:
            raise DecodeError("holds no frame")
        if duration_s - max(self.time_s, self._end_s) > self._SLACK_S:
            raise DecodeError(
                f"its frames end at {self.time_s:.1f} s of {duration_s:.1f} s: cut short or damaged"
            )
        since, gap_s = self._gap
        if gap_s > max(self._SLACK_S, self._every_s) and not all_came:
            raise DecodeError(f"no frame for {gap_s:.1f} s after {since:.1f} s: damaged")
