"""`python -m dipole`."""

import sys

from dipole.cli import main

if __name__ == "__main__":
    sys.exit(main())
