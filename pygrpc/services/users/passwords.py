"""Password hashes: Argon2id (RFC 9106), computed in threads of their own."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import argon2
from argon2.exceptions import VerifyMismatchError


class Passwords:
    """Makes and checks password hashes without holding up the event loop.

    A hash takes tens of milliseconds and much memory on purpose. The number of threads bounds how many are made at
    once, and so the memory; further ones wait.
    """

    def __init__(
        self,
        *,
        time_cost: int = argon2.DEFAULT_TIME_COST,
        memory_cost: int = argon2.DEFAULT_MEMORY_COST,
        parallelism: int = argon2.DEFAULT_PARALLELISM,
        threads: int = 2,
    ) -> None:
        """Chooses the costs; the defaults are those of argon2-cffi, which follow RFC 9106, section 4.

        Args:
            time_cost: Number of passes over the memory.
            memory_cost: Memory of one hash in KiB.
            parallelism: Number of lanes.
            threads: The most hashes that are made at once.
        """
        self._argon2 = argon2.PasswordHasher(time_cost=time_cost, memory_cost=memory_cost, parallelism=parallelism)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="password")

    async def hash(self, password: str) -> str:
        """Returns a salted hash that holds its own parameters; the empty text for an empty password."""
        if not password:
            return ""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._argon2.hash, password)

    async def verify(self, password: str, password_hash: str) -> bool:
        """Tells whether `password` is the one that was hashed. No password matches the hash of an empty one."""
        if not password_hash:
            return False
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._matches, password, password_hash)

    def _matches(self, password: str, password_hash: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except VerifyMismatchError:
            return False

    def close(self) -> None:
        """Gives up the hashes that were not begun and waits for those that were."""
        self._executor.shutdown(cancel_futures=True)
