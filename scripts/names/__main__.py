"""Write what follows from the names of the library; `--check` says whether it is so."""

import argparse
import sys
from pathlib import Path

from scripts.names import api, bibliography, faces

WRITERS = (faces.written, bibliography.written, api.written)


def main() -> int:
    """Write the files that are not as they should be, or name them under `--check`; 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m scripts.names", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and end with 1 if a file would change")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help="the checkout")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    texts = {path: text for writer in WRITERS for path, text in writer(root).items()}
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{'not as the names say' if arguments.check else 'written'}: {path.relative_to(root)}")
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[path], encoding="utf-8")
    if stale and arguments.check:
        print("Run `make names`.", file=sys.stderr)
    return int(bool(stale) and arguments.check)


if __name__ == "__main__":
    sys.exit(main())
