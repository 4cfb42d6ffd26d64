"""Several processes on one port: `pygrpc serve --workers`."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pygrpc import aio
from pygrpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from pygrpc.health.v1.health_pb2_grpc import HealthStub
from pygrpc.services.protos.user.v1 import user_pb2, user_pb2_grpc
from pygrpc.services.serving import Configuration, StartError, running
from tests.services import servers
from tests.services.program import failing, scraped, serving
from tests.services.support import create
from tests.tls import certificates


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_workers_serve_one_port_and_stop_together(
    client_aio: ModuleType, tmp_path: Path, number: signal.Signals
) -> None:
    options = ("--workers", 2, "--files", tmp_path / "files", "--grace", 30)
    async with serving(tmp_path / "users.db", *options) as program:
        async with client_aio.insecure_channel(program.address) as channel:
            stub = user_pb2_grpc.UserServiceStub(channel)
            user = await create(stub)
            batch, watch = stub.BatchCreateUsers(), stub.WatchUser(user_pb2.WatchUserRequest(id=user.id))
            health = HealthStub(channel).Watch(HealthCheckRequest())
            await batch.write(user_pb2.CreateUserRequest(name="Bob", email="bob@example.com"))
            assert (await watch.read()).user == user
            assert (await health.read()).status == HealthCheckResponse.SERVING
            program.process.send_signal(number)
            assert (await health.read()).status == HealthCheckResponse.NOT_SERVING
            with pytest.raises(client_aio.AioRpcError, match="the server is shutting down"):
                await watch.read()
            await batch.done_writing()
            assert (await batch).success_count == 1
        status, output, errors = await program.finished()
    assert (status, output) == (0, "")
    assert "Traceback" not in errors
    assert f"INFO pygrpc: 2 workers on {program.address}" in errors
    assert "INFO pygrpc: all workers serve" in errors
    assert errors.count(f"Serving user, chat, file, order on {program.address}, in the clear.") == 2


async def test_a_second_signal_ends_all_workers_at_once(client_aio: ModuleType, tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "users.db", "--workers", 2, "--grace", 3600) as program,
        client_aio.insecure_channel(program.address) as channel,
    ):
        stub = user_pb2_grpc.UserServiceStub(channel)
        user = await create(stub)
        batch, watch = stub.BatchCreateUsers(), stub.WatchUser(user_pb2.WatchUserRequest(id=user.id))
        await batch.write(user_pb2.CreateUserRequest(name="Bob", email="bob@example.com"))
        await watch.read()
        program.process.send_signal(signal.SIGTERM)
        with pytest.raises(client_aio.AioRpcError):
            await watch.read()
        program.process.send_signal(signal.SIGTERM)
        status, output, _ = await program.finished()
        assert (await batch.code()).name == "UNAVAILABLE"
    assert (status, output) == (0, "")


async def test_workers_with_mutual_tls(client_aio: ModuleType, tmp_path: Path) -> None:
    own, ca = certificates.server(), certificates.roots()
    for name, content in (("server.crt", own.chain), ("server.key", own.key), ("ca.crt", ca)):
        (tmp_path / name).write_bytes(content)
    variables = {
        "SSL_ENABLED": "true",
        "SSL_CERT_PATH": str(tmp_path / "server.crt"),
        "SSL_KEY_PATH": str(tmp_path / "server.key"),
        "SSL_CA_PATH": str(tmp_path / "ca.crt"),
    }
    client = certificates.client()
    library: Any = pytest.importorskip(client_aio.__name__.partition(".")[0])
    credentials = library.ssl_channel_credentials(ca, client.key, client.chain)
    async with serving(tmp_path / "users.db", "--workers", 2, **variables) as program:
        async with client_aio.secure_channel(program.address, credentials) as channel:
            await create(user_pb2_grpc.UserServiceStub(channel))
        async with client_aio.secure_channel(program.address, library.ssl_channel_credentials(ca)) as channel:
            call = HealthStub(channel).Check(HealthCheckRequest())
            assert (await call.code()).name == "UNAVAILABLE"
        program.process.send_signal(signal.SIGTERM)
        status, _, errors = await program.finished()
    assert status == 0
    assert errors.count(", over mutual TLS.") == 2


async def test_workers_are_counted_together(tmp_path: Path) -> None:
    port = servers.free_port()
    options = ("--workers", 2, "--metrics", "--metrics-port", port)
    async with serving(tmp_path / "users.db", *options) as program:
        # The kernel gives each connection to one of the two, and the first one tells of both.
        for _ in range(20):
            async with aio.insecure_channel(program.address) as channel:
                await HealthStub(channel).Check(HealthCheckRequest())
        counted = 'grpc_server_handled_total{grpc_code="OK",grpc_method="Check",'
        while not re.search(
            rf"^{re.escape(counted)}.*}} 20\.0$", await scraped(f"http://127.0.0.1:{port}/metrics"), re.M
        ):
            await asyncio.sleep(0)
        program.process.send_signal(signal.SIGTERM)
        status, _, errors = await program.finished()
    assert status == 0
    assert errors.count(f"The metrics are at http://127.0.0.1:{port}/metrics.") == 1


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_key_that_does_not_fit(tmp_path: Path, workers: int) -> None:
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    certificate.write_bytes(certificates.server().chain)
    key.write_bytes(certificates.client().key)
    options = ("--port", 0, "--tls-certificate", certificate, "--tls-key", key, "--workers", workers)
    status, output, errors = await failing(*options, "--log-level", "warning")
    assert (status, output) == (1, "")
    said = re.sub(r"worker [12] \(process \d+\) could not start: ", "", errors)
    assert said == f"pygrpc serve: the private key {key} does not belong to the certificate {certificate}\n"


def test_an_address_that_cannot_be_bound() -> None:
    with pytest.raises(StartError, match=r"^Failed to bind to address 192.0.2.1:0: "):
        running.run(Configuration(host="192.0.2.1", port=0, workers=2), lambda address: pytest.fail("not ready"))
