"""Files that appear whole or not at all."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mspt.errors import WriteError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a hidden name beside `path` to write to; it becomes `path` when the block ends well.

    The hidden name is short, since `path` may be as long as names can be, and holds the numbers of
    process and thread, so that two that write into one folder do not write to one file.

    Raises:
        WriteError: if it cannot be written, saying why.
    """
    draft = path.with_name(f".mspt-{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
