"""The programs behind the command line, as functions."""
