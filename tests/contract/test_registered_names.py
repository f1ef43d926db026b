"""Every registered name can be looked up, is public and is tried by a contract."""

import inspect

import pytest
from examples.models import MODELS
from examples.units import COUPLINGS, UNITS

from ppgen import distributions, inference, registry

EXAMPLES = {"model": MODELS, "unit": UNITS}  # which are not made without arguments


@pytest.mark.parametrize("kind", [kind for kind in registry.TABLES if kind != "data set"])
def test_every_registered_name_is_covered(kind: str) -> None:
    """Catches a new model or unit that no contract test runs over, and a name that is not its object's."""
    if kind in EXAMPLES:
        examples, names = set(EXAMPLES[kind]), set(registry.TABLES[kind])
        assert names <= examples, f"give {sorted(names - examples)} a class method example()"
        assert examples <= names, f"{sorted(examples - names)} in tests/examples/{kind}s.py are not registered"
        assert all(EXAMPLES[kind].values())
    for name in registry.TABLES[kind]:
        found = registry.lookup(kind, name)
        assert found.__name__ == name and found.__doc__


def test_every_public_unit_and_coupling_is_covered() -> None:
    """Catches a new unit or coupling that is exported and never compared with its states."""
    protocols = {"Units", "Biased", "Coupling"}
    public = {name: getattr(distributions, name) for name in distributions.__all__ if name not in protocols}
    assert {name for name, found in public.items() if hasattr(found, "interpolated")} == set(UNITS)
    assert {name for name, found in public.items() if hasattr(found, "backward")} == set(COUPLINGS)


def test_every_public_inference_part_is_registered() -> None:
    """Catches an objective, estimator or negative phase that is exported and cannot be named or saved."""
    kinds = {
        "objective": inference.Objective,
        "negative phase": inference.NegativePhase,
        "estimator": inference.Pathwise.__mro__[1],
    }
    for kind, base in kinds.items():
        public = {
            name
            for name in inference.__all__
            if isinstance(getattr(inference, name), type)
            and issubclass(getattr(inference, name), base)
            and not inspect.isabstract(getattr(inference, name))
            and getattr(inference, name) is not base
        }
        assert public == set(registry.TABLES[kind])
