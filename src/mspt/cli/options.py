"""What several commands ask in the same words, and how the answers are read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mspt.errors import ConfigError, MissingExtraError

BACKEND_HELP = "auto (onnxruntime), onnxruntime, or openvino (extra [fast])."
MODEL_HELP = "Embedded model's name, or an .onnx file."
DETECTOR_HELP = "YuNet file; default: $MSPT_DETECTOR, or what `mspt detector fetch` got."
TRUST_HELP = "Take a detector's file that is not known."
SCALE_HELP = "WORST,BEST of the labels as written."


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra to install when something inside finds a package missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(name, error) from error


def read_conditions(where: Iterable[str]) -> dict[str, str]:
    """Read `--where COLUMN=VALUE` options.

    Raises:
        ConfigError: if one is of another form.
    """
    conditions = {}
    for condition in where:
        column, equals, value = condition.partition("=")
        if not equals:
            raise ConfigError(f"--where {condition!r} is not of the form COLUMN=VALUE")
        conditions[column] = value
    return conditions


def read_scale(text: str) -> tuple[float, float]:
    """Read `--mos-scale WORST,BEST`.

    Raises:
        ConfigError: if it is of another form, or both are the same.
    """
    try:
        worst, best = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--mos-scale {text!r} is not of the form WORST,BEST") from error
    if worst == best:
        raise ConfigError(f"--mos-scale {text!r}: worst and best are the same")
    return worst, best
