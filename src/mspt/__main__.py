"""`python -m mspt` is the command line."""

from mspt.apps.cli import main

main(prog_name="mspt")
