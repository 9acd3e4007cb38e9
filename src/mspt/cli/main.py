"""The command line: `mspt score photos/`. Parses, calls one function, prints.

Exit codes: 0 done; 1 the answer is no (a row not ok with --strict, over budget); 2 wrong usage, or
input or output that cannot be used; 130 stopped by Ctrl-C. MSPT_DEBUG=1 shows the traceback of an
error instead of its line.

Imports of the heavy parts wait until a command needs them, so that `mspt --help` is instant.
"""

import io
import os
import sys
import warnings
from importlib import import_module
from typing import Any

import click

import mspt
from mspt.errors import MsptError

# What each command is for, as `mspt --help` groups them; its module of cli/ and, where it differs,
# the function's name.
_GROUPS = {
    "use": {
        "score": "scoring",
        "report": "reporting",
        "filter": "choosing:filter_",
        "restore": "choosing",
        "threshold": "choosing",
        "serve": "serving",
        "cluster": "scaling",
        "detector": "scoring",
    },
    "measure": {"evaluate": "measuring", "compare": "measuring", "profile": "measuring"},
    "make": {
        "synthesize": "making",
        "train": "making",
        "export": "making",
        "label": "making",
    },
}
_COMMANDS = {name: place for group in _GROUPS.values() for name, place in group.items()}


class _Group(click.Group):
    """Loads a command when it is called, and turns errors into a line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, function = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"mspt.cli.{module}"), function or cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what they are for."""
        for title, names in _GROUPS.items():
            rows = []
            for name in names:
                command = self.get_command(ctx, name)
                rows.append((name, command.get_short_help_str(limit=200) if command else ""))
            with formatter.section(title):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click declares it
        try:
            return super().invoke(ctx)
        except MsptError as error:
            if os.environ.get("MSPT_DEBUG"):
                raise
            click.echo(f"error: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # `mspt score ... | head` has seen enough
            sys.stderr.close()
            ctx.exit(0)
        except OSError as error:  # such as an output that cannot be written, or a full disk
            name = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {name}{error.strerror or error}", err=True)
            ctx.exit(2)
        except (KeyboardInterrupt, click.Abort):
            from mspt.cli.stopping import STOPPED, leave_slow_threads

            click.echo("stopped", err=True)
            leave_slow_threads()
            ctx.exit(STOPPED)


@click.group(cls=_Group)
@click.version_option(mspt.__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Say how good face photos look: perceptual quality from 0 (worst) to 1 (best).

    It is not a recognition score: it says how a photo looks, not how well a face matcher copes.
    """
    # Pillow's remarks on damaged files name no file; the file's own row says what matters.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # ours: one plain line
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # a file name must never end a run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            if os.name == "nt" and not stream.isatty():  # else é is written as no list is read
                stream.reconfigure(encoding="utf-8")


def _replace_closed_streams() -> None:
    """Open the null device in place of standard streams that are closed (`2>&-`).

    Otherwise the next file that is opened takes the place of stderr, and messages go into it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - stays open
            setattr(sys, name, stream)
