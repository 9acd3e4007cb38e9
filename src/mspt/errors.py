"""Every exception that mspt raises on purpose.

MsptError                      catch this one to catch them all
├── ConfigError                a run file or an option that cannot be honoured
├── DataError                  a manifest, a scores file or images that cannot be used as they are
├── WriteError                 a file or folder that cannot be written
├── DownloadError              a file that cannot be fetched, or is not the one expected
├── TrainingError              a training that cannot go on
├── ModelError                 a model file or checkpoint that must not be used
├── SynthesisError             a data set that could not be made to its end
├── ClusterError               a job on a cluster that could not be done to its end
├── MissingExtraError          an optional dependency that is not installed
└── ImageError                 one image that cannot be scored; carries a row's `status`
    ├── DecodeError            `unreadable`
    │   ├── MissingFileError   also a FileNotFoundError
    │   └── NotAnImageError    also a TypeError
    ├── ImageTooSmallError     `too_small`
    └── ImageTooLargeError     `too_large`

A message says what, where, both values and the remedy.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

Status = Literal["ok", "unreadable", "too_small", "too_large", "no_face"]


class MsptError(Exception):
    """Base of all errors that mspt raises on purpose."""


class ConfigError(MsptError):
    """A run file or an option that cannot be honoured."""


class DataError(MsptError):
    """A manifest, a scores file or images that cannot be used as they are."""


class WriteError(MsptError):
    """A file or folder that cannot be written."""


class DownloadError(MsptError):
    """A file that cannot be fetched, or is not the one that was expected."""


class TrainingError(MsptError):
    """A training that cannot go on; its checkpoints are kept."""


class ModelError(MsptError):
    """A model file or checkpoint that must not be used."""


class SynthesisError(MsptError):
    """A data set could not be made to its end; what is finished is kept."""


class ClusterError(MsptError):
    """A job on a cluster could not be done to its end; finished parts are kept."""


class MissingExtraError(MsptError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, extra: str, cause: ImportError) -> Self:
        """Name the extra of this package that brings what `cause` missed."""
        return cls(
            f"{cause.name or cause} is not installed; in a checkout of mspt, run: "
            f'pip install -c constraints.txt ".[{extra}]"'
        )


class ImageError(MsptError):
    """One image that cannot be scored; `status` is what its row says."""

    status: ClassVar[Status] = "unreadable"


class DecodeError(ImageError):
    """The bytes are not an image that can be decoded whole."""


class MissingFileError(DecodeError, FileNotFoundError):
    """There is no such file."""


class NotAnImageError(DecodeError, TypeError):
    """An object of a kind that holds no image."""


class ImageTooSmallError(ImageError):
    """The image has too few pixels for a score to mean anything."""

    status = "too_small"


class ImageTooLargeError(ImageError):
    """The image exceeds the limits on bytes or pixels."""

    status = "too_large"


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value of an argument that is none of its choices.

    Raises:
        ConfigError: naming all of them.
    """
    if value not in choices:
        known = ", ".join(map(str, choices))
        raise ConfigError(f"{name} is {value!r}, but must be one of {known}")
