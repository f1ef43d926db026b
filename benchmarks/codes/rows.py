"""Rows of a measurement, kept one by one, so that one which was broken off goes on."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import record


def measured(path: Path, jobs: Mapping[str, Callable[[], Mapping[str, Any]]], command: str) -> dict[str, Any]:
    """Run the jobs whose rows are not in a file yet, and write it after each.

    Args:
        path: A JSON file.
        jobs: What makes each row, by its name.
        command: The command that measures them.
    """
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"kind": "codes", "rows": {}}
    content["command"] = command
    for name, job in jobs.items():
        if name not in content["rows"]:
            began = time.perf_counter()
            content["rows"][name] = {**job(), "seconds": round(time.perf_counter() - began, 1)}
            content["commit"] = record.commit()
            path.write_text(json.dumps(content, indent=2) + "\n")
        print(name, content["rows"][name], flush=True)
    return content
