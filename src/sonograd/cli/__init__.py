"""The command line: :mod:`sonograd.cli.app` holds the list of commands, one file each."""
