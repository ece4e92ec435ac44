"""``python -m sonograd`` is ``sonograd``."""

import sys

from sonograd.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
