"""A progress bar on request."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(description: str, total: int, show: bool) -> Iterator[Callable[[int], None] | None]:
    """Context with a function that is told how much is done, or None if no bar is wanted.

    Example:
        >>> with progress_bar("rows", 10, show=False) as advance:
        ...     advance is None
        True
    """
    if not show:
        yield None
        return
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
