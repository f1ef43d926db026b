"""`python -m ppgen` is the command `ppgen`."""

import sys

from ppgen.cli import main

if __name__ == "__main__":
    sys.exit(main())
