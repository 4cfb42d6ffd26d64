"""A thread for what users wrote, such as resolvers: it may block, and nothing of ours waits for it."""

import contextlib
import threading
from collections.abc import Callable


class UserCode:
    """Runs functions one after the other, in a thread that there is only while there is something to run."""

    def __init__(self) -> None:
        """Starts no thread yet."""
        self._lock = threading.Lock()
        self._actions: list[Callable[[], None]] = []
        self._running = False

    def add(self, action: Callable[[], None]) -> None:
        """Has a function run behind those that were added before; it may not raise."""
        with self._lock:
            self._actions.append(action)
            if not self._running:
                # When the interpreter ends there are no new threads, and nobody is left to care.
                with contextlib.suppress(RuntimeError):
                    threading.Thread(target=self._run, name="pygrpc-resolver", daemon=True).start()
                    self._running = True

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._actions:
                    self._running = False
                    return
                action = self._actions.pop(0)
            action()
            # Not to be kept while the next one is awaited.
            del action
