"""`python -m mspt` is the command line."""

from mspt.cli.main import main

main(prog_name="mspt")
