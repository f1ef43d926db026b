"""Rooms of the house: full folders, the order in which they may import each other, circles, names that hide others."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest
from layout import GATE, ROOT, modules, tracked_files

FULLEST = 20  # Python files of one folder

# Folders of a package from the ground up; files that stand beside them are named too. What stands in one line may not
# import each other, unless a line says so.
ORDER: dict[str, list[set[str]]] = {
    "inference": [
        {"schedules", "state_roles"},
        {"structure", "baselines"},
        {"elimination"},
        {"particles", "annealing", "pyro_loss"},
        {"estimators"},
        {"objectives", "negative_phases", "kernels", "updates"},
        {"engine"},
    ],
    "models": [
        {"parts"},
        {"autoregressive"},
        {"boltzmann", "variational", "autoencoders", "sparse_coding", "mixtures"},
        {"belief_nets", "conditional", "flows", "implicit", "semi_supervised"},
    ],
    "distributions": [{"units", "couplings"}, {"machines"}, {"densities", "autoregressive"}, {"flows"}],
    "training": [
        {"environment"},
        {"settings", "processes"},
        {"data", "run_folder"},
        {"steps", "run", "left_state"},
        {"binding", "epochs", "sampling", "loading"},
        {"fitting"},
        {"stages"},
    ],
    "evaluation": [
        {"estimate", "rows", "per_datum", "effective"},
        {"lone_rows", "blindness", "bits", "samples"},
        {"program"},
        {"partition"},
        {"likelihood"},
        {"evidence"},
    ],
    "diagnostics": [
        {"mosaic", "converters"},
        {"chains", "gradients", "guides"},
        {"latents", "calibration", "comparison"},
        {"checks", "figures"},
    ],
}
# Imports against that order, or in a circle, each with its reason.
LATE = {
    (
        "ppgen.inference.pyro_loss",
        "ppgen.inference.engine",
    ): "values bind themselves: the one way from them to the engine",
}
# What asks the gate for a package that it must not know itself.
BY_NAME = {
    "ppgen.training.run": "`Run.check` is diagnostics.check",
    "ppgen.training.stages.class_parts": "Bayes' rule is made of the estimates of evaluation.log_likelihood",
}


def imports(module: str, path: Path) -> set[str]:
    """Modules that a module imports anywhere in it, but for those that only a type checker reads."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    known, found = modules(), set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in full}
    return {name for name in found if name in known and name != module}


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Arrows of all modules."""
    return {module: imports(module, path) for module, path in modules().items()}


def room(module: str) -> tuple[str, str] | None:
    """Package and folder, or file, of a module inside a package with an order."""
    names = module.split(".")
    return (names[1], names[2]) if len(names) > 2 and names[1] in ORDER else None


def faces() -> set[str]:
    return {module for module, path in modules().items() if path.name == "__init__.py"}


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import each other on some way (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = set()
            while node not in group:
                group.add(stack.pop())
            if len(group) > 1:
                found.append(group)

    for node in graph:
        if node not in index:
            visit(node)
    return found


def backward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that go up, or across, in the order of the folders of a package."""
    faults = []
    for module, others in graph.items():
        here = room(module)
        for other in others:
            there = room(other)
            if here is None or there is None or here[0] != there[0] or here[1] == there[1]:
                continue
            level = {name: step for step, names in enumerate(ORDER[here[0]]) for name in names}
            if here[1] not in level or there[1] not in level:
                faults.append(f"{module} or {other} stands in no place of ORDER")
            elif level[there[1]] >= level[here[1]] and not allowed(module, other):
                faults.append(f"{module} imports {other}, which stands above it or beside it")
    return faults


def allowed(module: str, other: str) -> bool:
    return any(module == late and other.startswith(to) for late, to in LATE)


def test_no_folder_is_crowded() -> None:
    """Catches a room into which everything is put, so that nobody finds anything in it."""
    count: dict[Path, int] = defaultdict(int)
    for path in tracked_files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("ppgen", "models", "inference", "tests"):
            count[path.parent.relative_to(ROOT)] += 1
    assert not {str(folder): number for folder, number in count.items() if number > FULLEST}


def test_folders_import_one_way(graph: dict[str, set[str]]) -> None:
    """Catches an arrow back between two folders of a package, late imports counted."""
    faults = backward(graph)
    assert not faults, "\n".join(faults)


def test_no_circle_of_files(graph: dict[str, set[str]]) -> None:
    """Catches files that can only be read together, late imports counted."""
    known = faces()
    inner = {
        module: {other for other in others if other not in known and not allowed(module, other)}
        for module, others in graph.items()
        if module not in known
    }
    assert not circles(inner)


def test_exceptions_are_needed(graph: dict[str, set[str]]) -> None:
    """Catches an exception that nobody uses any more."""
    for late, to in LATE:
        assert any(other.startswith(to) for other in graph[late]), (late, to)


def test_no_module_hides_a_public_object() -> None:
    """Catches `import ppgen.x.y as m` that gives a function, because the package has one of that name."""
    known = modules()
    hidden = []
    for face in faces():
        public = {
            alias.asname or alias.name
            for node in ast.walk(ast.parse(known[face].read_text()))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if f"{node.module}.{alias.name}" not in known
        }
        inside = {name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == face and name not in faces()}
        hidden += [f"{face}.{name}" for name in public & inside]
    assert not hidden, hidden


def test_no_public_class_is_there_twice() -> None:
    """Catches two classes of one name, which a reader takes for one."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, path in modules().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(module)
    twice = {name: where for name, where in found.items() if len(where) > 1 and not name.startswith("_")}
    assert not twice, twice


def test_a_package_does_not_import_its_own_face(graph: dict[str, set[str]]) -> None:
    """Catches a file that needs the whole package it is a part of, and anything below that imports the gate."""
    known, faults = faces(), []
    for module, others in graph.items():
        for face in (others & known) - {"ppgen.commands"}:
            above = module.split(".")[1:2] in (["cli"], ["commands"], ["__main__"])
            by_name = face == GATE and (above or module in BY_NAME)
            if module not in known and module.startswith(f"{face}.") and not by_name:
                faults.append(f"{module} imports {face}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("ppgen.inference.structure.layout", "ppgen.inference.particles.log_weights"),
        ("ppgen.inference.estimators.pathwise", "ppgen.inference.engine.plan"),
        ("ppgen.models.variational.vae", "ppgen.models.boltzmann.rbm"),
        ("ppgen.training.run_folder.folder", "ppgen.training.fitting"),
    ],
)
def test_the_order_sees_faults(module: str, other: str) -> None:
    """Catches a test of the order that passes whatever it is given."""
    assert len(backward({module: {other}})) == 1
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_tests_mirror_the_library() -> None:
    """Catches a test file that lies elsewhere than what it tests, and a folder of the library without tests."""
    folders = {
        path.parent.relative_to(ROOT)
        for path in tracked_files()
        if path.name.startswith("test_") and "tests" in path.parts
    }
    own = {Path("tests") / name for name in ("house", "contract", "benchmarks", "fuzz")}
    library = {Path("tests").joinpath(*face.split(".")[1:]) for face in faces()}
    strangers = {
        folder
        for folder in folders
        if folder not in library and not any(each in (folder, *folder.parents) for each in own)
    }
    assert not strangers
    bare = {folder for folder in library if not any(folder in (each, *each.parents) for each in folders)}
    assert not bare


def test_the_map_holds_every_folder() -> None:
    """Catches a folder that no newcomer is told of, and one that says of itself something else than the map."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    known, missing = modules(), []
    for face in faces() - {GATE}:
        folder = known[face].parent.relative_to(ROOT)
        said = (ast.get_docstring(ast.parse(known[face].read_text())) or "").partition("\n")[0]
        if f"| `{folder}/` | {said} |" not in text or not said:
            missing.append(f"| `{folder}/` | {said} |")
    assert not missing, "\n".join(missing)
