"""``python -m restorekit``."""

import sys

from restorekit.cli import main

if __name__ == "__main__":
    sys.exit(main())
