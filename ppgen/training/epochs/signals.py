"""Ctrl-C and SIGTERM: let the running step finish, then stop as the process would have stopped."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class GracefulStop:
    """Context in which SIGINT and SIGTERM set `received` instead of stopping the process at once.

    Only the main thread may set handlers; elsewhere the context does nothing. A signal that is ignored stays
    ignored. The first signal puts the old handlers back, so that a second Ctrl-C stops at once.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}
        self._handler: Any = signal.SIG_DFL

    def __enter__(self) -> "GracefulStop":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if handler is not None and handler != signal.SIG_IGN:
                    self._previous[number] = handler
                    signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._handler = self._previous.get(number, signal.SIG_DFL)
        self._restore()

    def take(self, number: int) -> None:
        """Go on as if a signal had come that another process received.

        The handlers stay, because the same signal may be on its way to this process too.
        """
        if self.received is None:
            self.received, self._handler = number, self._previous.get(number, signal.SIG_DFL)

    def _restore(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())

    def deliver(self) -> None:
        """Do what the signal would have done without this context; nothing if none came.

        Raises:
            KeyboardInterrupt: After SIGINT, under Python's own handler.
            SystemExit: After SIGTERM, with status 143, if nobody handles it.
        """
        received, self.received = self.received, None  # once, also if the handler returns
        if received is None:
            return
        if callable(self._handler):
            self._handler(received, None)
        elif received == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + received)
