"""What a run shows while it trains: one line that says what is run, and a bar."""

from typing import Any

from ppgen.training.epochs.callbacks import Event
from ppgen.training.run import format_metrics


class Progress:
    """Progress of a run on the terminal, by rich; plain lines where rich is missing or nobody watches.

    Args:
        headline: Line that says what is run.
        total_steps: Steps of the whole run.
    """

    def __init__(self, headline: str, total_steps: int) -> None:
        self.headline, self.total_steps = headline, total_steps
        self._bar: Any = None
        self._task: Any = None
        self._told = -1

    def start(self, step: int) -> None:
        """Print the headline and show the bar."""
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        except ImportError:
            print(self.headline, flush=True)
            return
        console = Console()
        print(self.headline, flush=True)
        if console.is_terminal:
            columns = (
                TextColumn("{task.fields[epoch]}"),
                BarColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=console, auto_refresh=False)
            self._task = self._bar.add_task("", total=self.total_steps, completed=step, epoch="epoch 0")
            self._bar.start()

    def update(self, step: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, refresh=True)

    def __call__(self, event: Event) -> None:
        """Show the metrics of an epoch."""
        if event.kind != "epoch":
            return
        if self._bar is None:
            # A log of some twenty lines, however long the run.
            done, total = event.step, max(1, self.total_steps)
            part = 20 * done // total
            if part == self._told and done < total:
                return
            self._told = part
            print(f"epoch {event.epoch}: {format_metrics(event.metrics)}", flush=True)
        else:
            self._bar.update(
                self._task,
                description=format_metrics(event.metrics),
                epoch=f"epoch {event.epoch}",
                refresh=True,
            )

    def close(self) -> None:
        """Leave the bar as it stands and give the terminal back."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
