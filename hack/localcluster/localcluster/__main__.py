"""`python -m localcluster`."""

from localcluster.cli import run_command_line

run_command_line()
