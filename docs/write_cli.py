"""Write docs/cli.md from the commands' own help: `make docs`. A test compares the two."""

from pathlib import Path

import click
from click.testing import CliRunner

from mspt.cli.main import main

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 96
HEAD = """# Every command and option

Written by `make docs` from `mspt COMMAND --help`.
"""


def help_of(*command: str) -> str:
    """Return what a command says of itself."""
    done = CliRunner().invoke(
        main, [*command, "--help"], prog_name="mspt", terminal_width=WIDTH, max_content_width=WIDTH
    )
    return done.output.rstrip()


def page() -> str:
    """Return the page."""
    parts = [HEAD, f"```text\n{help_of()}\n```\n"]
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        names = [(name,)]
        if isinstance(command, click.Group):
            names = [(name, sub) for sub in command.list_commands(context)]
        for path in names:
            parts.append(f"## mspt {' '.join(path)}\n\n```text\n{help_of(*path)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
