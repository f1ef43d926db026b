"""`import ppgen` brings torch and Pyro and nothing else, and leaves the process as those two leave it."""

import ast
import json
import subprocess
import sys
from typing import Any

from layout import ROOT, tracked_files

PROBE = """
import hashlib, json, logging, sys, warnings
{imports}
import pyro, torch
state = {{
    "modules": sorted(name for name in sys.modules if "." not in name),
    "dtype": str(torch.get_default_dtype()),
    "distributions_validate": torch.distributions.Distribution._validate_args,
    "pyro_validate": pyro.infer.util.is_validation_enabled(),
    "pyro_distributions_validate": pyro.distributions.Distribution.__dict__.get("_validate_args"),
    "settings": {{name: repr(value) for name, value in pyro.settings.get().items()}},
    "store": sorted(pyro.get_param_store().keys()),
    "random_state": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
    "numpy_random": __import__("numpy").random.get_state()[1][:5].tolist(),
    "python_random": __import__("random").getstate()[1][:5],
    "threads": torch.get_num_threads(),
    "precision": torch.get_float32_matmul_precision(),
    "grad": torch.is_grad_enabled(),
    "deterministic": torch.are_deterministic_algorithms_enabled(),
    "handlers": [repr(type(handler)) for handler in logging.getLogger().handlers],
    "level": logging.getLogger().level,
    "ppgen_handlers": [repr(type(handler)) for handler in logging.getLogger("ppgen").handlers],
    "filters": len(warnings.filters),
    "excepthook": sys.excepthook is sys.__excepthook__,
}}
print(json.dumps(state))
"""
# Seeded before ppgen is imported, so that an import which draws or seeds shows.
SEEDED = "import torch, pyro, numpy, random; torch.manual_seed(7); numpy.random.seed(7); random.seed(7)"
HEAVY = {"IPython", "arviz", "arviz_base", "arviz_plots", "arviz_stats", "h5netcdf", "h5py", "jsonargparse"}
HEAVY |= {"matplotlib", "pandas", "pooch", "rich", "safetensors", "scipy", "sklearn", "tensorboard", "xarray"}


def probe(imports: str) -> dict[str, Any]:
    """The state of a fresh process after some imports."""
    program = [sys.executable, "-c", PROBE.format(imports=imports)]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_leaves_the_process_alone() -> None:
    """Catches global state (validation off, another dtype, a seed, a log handler) and heavy imports."""
    without, with_ppgen = probe(SEEDED), probe(f"{SEEDED}; import ppgen")
    before, after = set(without.pop("modules")), set(with_ppgen.pop("modules"))
    assert with_ppgen == without
    # torch or Pyro may bring one of these by themselves; ppgen may not add any.
    assert not HEAVY & (after - before)


def test_the_library_is_light() -> None:
    """Catches a top-level import of a plotting or command-line library in a part that training needs."""
    parts = "from ppgen import Pair, distributions, fit, inference, models, nn, pair, registry, training"
    without, with_ppgen = probe(SEEDED), probe(f"{SEEDED}; {parts}")
    before, after = set(without.pop("modules")), set(with_ppgen.pop("modules"))
    heavy = HEAVY - {"safetensors"}
    assert not heavy & (after - before)
    assert with_ppgen == without


def torch_broadcasts(source: str) -> bool:
    """Whether a program calls torch's function for shapes that are broadcast together."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "broadcast_shapes" and ast.unparse(node.value) == "torch":
            return True
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            if any(alias.name == "broadcast_shapes" for alias in node.names):
                return True
    return False


def test_shapes_are_broadcast_without_sympy() -> None:
    """Catches `torch.broadcast_shapes`, whose first call imports SymPy for seconds; `ppgen.checks.shapes` is ours."""
    assert torch_broadcasts("import torch\ntorch.broadcast_shapes((1,))")
    assert torch_broadcasts("from torch import broadcast_shapes")
    paths = [path.relative_to(ROOT) for path in tracked_files() if path.suffix == ".py"]
    library = [path for path in paths if path.parts[0] in ("ppgen", "models", "inference")]
    callers = {str(path) for path in library if torch_broadcasts((ROOT / path).read_text())}
    assert callers == {"ppgen/checks/shapes.py"}
