"""Messages between processes: values that come out as they went in, and nothing that is run on the way."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ppgen import messages
from ppgen.training import FolderInUseError

ROOT = Path(__file__).parents[1]


def test_values_come_out_as_they_went_in() -> None:
    """Catches a checkpoint or metrics that lose a digit, a type, NaN, or a tensor's shape on their way."""
    weights = torch.randn(3, 4)
    value = {
        "tensors": {"w": weights.t(), "half": torch.ones((), dtype=torch.bfloat16), "bits": torch.ones(0, 2).bool()},
        "metrics": ({"loss": 0.1 + 0.2, "rhat": math.inf, "epoch": 3}, None, [True, "ä\n", -7]),
        "kind": ["plain", {"tensor": "0"}],
    }
    found = messages.unpacked(messages.packed(value))
    assert found["metrics"] == value["metrics"] and found["kind"] == value["kind"]
    for name, tensor in value["tensors"].items():
        assert found["tensors"][name].dtype == tensor.dtype and torch.equal(found["tensors"][name], tensor)
    assert math.isnan(messages.unpacked(messages.packed(math.nan)))


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ValueError("two\nlines"), ValueError, "two\nlines"),
        (FolderInUseError("in use"), FolderInUseError, "in use"),
        (FileNotFoundError(2, "No such file", "a.npy"), FileNotFoundError, "[Errno 2] No such file: 'a.npy'"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "bad"), RuntimeError, "UnicodeDecodeError: 'utf-8'"),
        (subprocess.CalledProcessError(3, "make"), RuntimeError, "CalledProcessError: Command 'make'"),
    ],
)
def test_errors_are_raised_again(error: Exception, kind: type[Exception], text: str) -> None:
    """Catches an error that reaches the other processes as another kind, so that they end with a traceback."""
    found = messages.unpacked(messages.packed(error))
    assert type(found) is kind and str(found).startswith(text)


@pytest.mark.parametrize("value", [print, {1: "a"}, {"f": [messages]}, torch.nn.Linear(1, 1), {1, 2}, b"x"])
def test_objects_are_refused(value: object) -> None:
    """Catches a message that carries code, or keys that come out as texts."""
    with pytest.raises(TypeError, match="cannot be told to other processes"):
        messages.packed(value)


def test_no_object_is_sent_between_processes() -> None:
    """Catches collectives of torch that unpickle what another process sends."""
    sources = [path for name in ("ppgen", "inference", "models") for path in (ROOT / name).rglob("*.py")]
    texts = {path.name: path.read_text() for path in sources}
    assert len(texts) > 200
    assert not [name for name, text in texts.items() if "gather_object" in text or "object_list" in text]


def test_tensors_of_different_lengths_are_gathered(tmp_path: Path) -> None:
    """Catches rows of padding that are taken for draws, and rows that are lost."""
    program = (
        "import sys, torch, torch.distributed as dist, torch.multiprocessing as mp\n"
        "from ppgen import messages\n"
        "def work(rank, file):\n"
        "    dist.init_process_group('gloo', init_method='file://' + file, rank=rank, world_size=2)\n"
        "    own = torch.full((3 - 3 * rank, 2), float(rank + 1))\n"
        "    parts = messages.gather_tensors(own)\n"
        "    assert [tuple(part.shape) for part in parts] == [(3, 2), (0, 2)], parts\n"
        "    assert bool((parts[0] == 1).all())\n"
        "    assert messages.gather({'rank': [rank] * rank}) == [{'rank': []}, {'rank': [1]}]\n"
        "    assert messages.broadcast(b'zero' if rank == 0 else b'another') == b'zero'\n"
        "    dist.destroy_process_group()\n"
        "if __name__ == '__main__':\n"
        "    mp.start_processes(work, (sys.argv[1],), nprocs=2, start_method='fork')\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "store")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
