"""All guards together, in the order that docs/guards.md gives, and before a service."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pygrpc import aio
from pygrpc.services.files import open_files
from pygrpc.services.guards import (
    Access,
    AccessLog,
    Authentication,
    Cache,
    Cached,
    Identity,
    JsonFormatter,
    Metrics,
    Rate,
    RateLimit,
    RequestIds,
    StaticTokens,
    identified,
)
from pygrpc.services.protos.file.v1 import file_pb2_grpc
from tests.services.files.support import download, upload
from tests.services.guards.support import KINDS, SERVICE, Clock, bearer, finished, guarded, path, until

ANN, BOB = "token-of-ann-0123456", "token-of-bob-0123456"
TOKENS = StaticTokens({ANN: Identity("ann", frozenset({"user"})), BOB: Identity("bob")})


class Chain:
    """The guards, and what they tell."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        logger = logging.Logger("test.chain")
        handler = logging.Handler()
        handler.setFormatter(JsonFormatter())
        handler.emit = lambda record: self.lines.append(json.loads(handler.format(record)))  # type: ignore[method-assign]
        logger.addHandler(handler)
        self.metrics = Metrics()
        self.guards = (
            RequestIds(),
            AccessLog(logger),
            self.metrics,
            Authentication([TOKENS], access=Access({f"/{SERVICE}/*": {"user"}})),
            RateLimit({"*": Rate(1, 2)}, clock=Clock()),
            Cache({path("unary_unary"): Cached(10)}, clock=Clock()),
        )


@pytest.mark.parametrize("kind", KINDS)
async def test_each_guard_does_its_part(client_aio: ModuleType, kind: str) -> None:
    chain = Chain()
    async with guarded(client_aio, *chain.guards) as server:
        caches = []
        for _ in range(2):
            call = server.start(kind, metadata=[*bearer(ANN), ("x-request-id", "one")])
            metadata = dict(await call.initial_metadata())
            await finished(kind, call)
            assert metadata["x-request-id"] == "one"
            caches.append(metadata.get("x-cache"))
        assert caches == (["miss", "hit"] if kind == "unary_unary" else [None, None])
        failures = [
            await server.failure(kind, metadata=bearer(ANN)),
            await server.failure(kind, metadata=bearer(BOB)),
            await server.failure(kind),
        ]
        assert all(len(failure.metadata["x-request-id"]) == 32 for failure in failures)
        await until(lambda: len(chain.lines) == 5)
    expected = ["OK", "OK", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAUTHENTICATED"]
    assert [line["code"] for line in chain.lines] == expected
    assert [line["identity"] for line in chain.lines] == ["ann", "ann", "ann", "bob", None]
    sent = 2 if kind.startswith("stream") else 1
    assert [line["requests"] for line in chain.lines] == [sent, sent, 0, 0, 0]
    text = chain.metrics.text().decode()
    assert all(f'grpc_code="{code}"' in text for code in expected)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_that_is_cancelled_leaves_the_chain(client_aio: ModuleType, kind: str) -> None:
    chain = Chain()
    async with guarded(client_aio, *chain.guards) as server:
        call = server.start(kind, b"wait", metadata=bearer(ANN))
        await server.methods.begun.wait()
        call.cancel()
        await until(lambda: bool(chain.lines))
    assert chain.lines[0]["code"] == "CANCELLED"
    [gauge] = [
        line for line in chain.metrics.text().decode().splitlines() if f'in_flight{{grpc_method="{kind}"' in line
    ]
    assert gauge.endswith(" 0.0")


async def test_attempts_to_guess_a_token_are_limited_by_a_limit_in_front(client_aio: ModuleType) -> None:
    front = RateLimit({"*": Rate(1, 3)}, clock=Clock())
    async with guarded(client_aio, front, Authentication([TOKENS])) as server:
        codes = [(await server.failure("unary_unary", metadata=bearer(f"guess-{n}"))).code for n in range(4)]
    assert codes == ["UNAUTHENTICATED"] * 3 + ["RESOURCE_EXHAUSTED"]


async def test_files_belong_to_who_is_known_and_not_to_who_somebody_says_to_be(
    client_aio: ModuleType, tmp_path: Path
) -> None:
    async with open_files(tmp_path, identify=identified) as files:
        server = aio.server(interceptors=[Authentication([TOKENS])])
        files.add_to(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with client_aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                stub = file_pb2_grpc.FileServiceStub(channel)
                stored = await upload(stub, b"secret", [*bearer(ANN), ("user-id", "bob")])
                assert stored.uploaded_by == "ann"
                assert (await download(stub, stored.file_id, bearer(ANN)))[1] == b"secret"
                with pytest.raises(client_aio.AioRpcError) as caught:
                    await download(stub, stored.file_id, [*bearer(BOB), ("user-id", "ann")])
                assert caught.value.code().name == "PERMISSION_DENIED"
        finally:
            await server.stop(None)
