from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import argon2
import pytest

from pygrpc.services.users.passwords import Passwords
from tests.services.support import cheap_passwords


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    passwords = cheap_passwords()
    yield passwords
    passwords.close()


async def test_a_hash_is_argon2id_and_matches_its_password_only(passwords: Passwords) -> None:
    hashed = await passwords.hash("correct horse")
    assert hashed.startswith("$argon2id$")
    assert "horse" not in hashed
    assert await passwords.verify("correct horse", hashed)
    assert not await passwords.verify("battery staple", hashed)


async def test_the_same_password_gives_different_hashes(passwords: Passwords) -> None:
    assert await passwords.hash("secret") != await passwords.hash("secret")


async def test_no_password_has_no_hash_and_nothing_matches_it(passwords: Passwords) -> None:
    assert await passwords.hash("") == ""
    assert not await passwords.verify("", "")


async def test_the_costs_are_those_that_were_asked_for() -> None:
    passwords = Passwords(time_cost=2, memory_cost=16, parallelism=1)
    parameters = argon2.extract_parameters(await passwords.hash("secret"))
    passwords.close()
    assert (parameters.time_cost, parameters.memory_cost, parameters.parallelism) == (2, 16, 1)


async def test_the_default_costs_follow_rfc_9106() -> None:
    passwords = Passwords()
    parameters = argon2.extract_parameters(await passwords.hash("secret"))
    passwords.close()
    low_memory = argon2.profiles.RFC_9106_LOW_MEMORY
    assert (parameters.time_cost, parameters.memory_cost) == (low_memory.time_cost, low_memory.memory_cost)


async def test_hashing_leaves_the_loop_free(passwords: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hash_when_told(password: str) -> str:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(20)
        return "hash of " + password

    monkeypatch.setattr(passwords, "_argon2", SimpleNamespace(hash=hash_when_told))
    hashing = asyncio.create_task(passwords.hash("secret"))
    await begun.wait()
    go_on.set()
    assert await hashing == "hash of secret"
