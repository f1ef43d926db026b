"""Methods that models override and that had another name before."""

import warnings


def honour_old_name(cls: type, old: str, new: str) -> None:
    """Let a method that a class overrides by its old name be the new one; `super()` finds those above by both names.

    Args:
        cls: Class that was just made.
        old: Name in programs written before.
        new: Name that is called.

    Example:
        >>> class Base:
        ...     def inspect_data(self, data): return "base"
        >>> class Model(Base):
        ...     def look_at(self, data): return "model over " + super().look_at(data)
        >>> with warnings.catch_warnings(action="ignore"):
        ...     honour_old_name(Model, "look_at", "inspect_data")
        >>> Model().inspect_data(None)
        'model over base'
    """
    if old not in vars(cls):
        return
    warnings.warn(
        f"{cls.__name__}.{old} overrides a method by its old name, which goes in a later version: call it {new}.",
        FutureWarning,
        stacklevel=4,  # the class statement, past __init_subclass__ and the one that it calls
    )
    setattr(cls, new, vars(cls)[old])
    for base in cls.__mro__[1:]:
        if new in vars(base):
            setattr(base, old, vars(base)[new])
