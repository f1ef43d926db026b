"""`python -m ppgen` is the command `ppgen`."""

import os
import sys

# `-m` searches the current folder first, so that a file there called json.py would run in the place of Python's own.
if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
    del sys.path[0]

from ppgen.cli import main  # noqa: E402 - after the path is safe

if __name__ == "__main__":
    sys.exit(main())
