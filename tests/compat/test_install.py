"""pygrpc.install(): what ``import grpc`` gives. Each test has a process of its own, because imports stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pygrpc import compat

ROOT = Path(__file__).resolve().parents[2]


def run(program: str) -> str:
    """Runs a program in a process of its own; returns what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_the_modules_of_grpc_are_ours() -> None:
    # In one process with a fork for each, because a process takes long to start.
    program = f"""
import os
import sys
import pygrpc
pygrpc.install()
for name in {list(compat._MODULES)!r}:
    sys.stdout.flush()
    if not os.fork():
        __import__(name)
        files = [getattr(each, "__file__", None) or "" for each in sys.modules.values()]
        assert not any("site-packages/grpc/" in file for file in files), name
        print(name, sys.modules[name].__name__)
        sys.exit()
    if os.wait()[1]:
        sys.exit(name)
"""
    names = {name: target if isinstance(target, str) else name for name, target in compat._MODULES.items()}
    assert dict(line.split() for line in run(program).splitlines()) == names


def test_names_are_the_same_objects() -> None:
    run("""
import pygrpc
pygrpc.install()
pygrpc.install()
import grpc
import grpc.aio
from grpc import aio, experimental
from grpc.experimental import aio as old_aio, gevent, session_cache
from grpc.aio._call import AioRpcError
from grpc.aio import _base_call
from grpc._channel import _InactiveRpcError
assert grpc is pygrpc
assert aio is old_aio is grpc.aio is pygrpc.aio
assert experimental is pygrpc.experimental
assert AioRpcError is pygrpc.aio.AioRpcError
assert _base_call.UnaryUnaryCall is pygrpc.aio.UnaryUnaryCall
assert grpc._channel._InactiveRpcError is _InactiveRpcError
assert issubclass(_InactiveRpcError, grpc.RpcError)
assert grpc._cython.cygrpc.UsageError is grpc.aio.UsageError
assert grpc._common.fully_qualified_method("s", "m") == "/s/m"
gevent.init_gevent()
""")


def test_generated_code_and_packages_of_others() -> None:
    run("""
import pygrpc
pygrpc.install()
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from google.rpc import status_pb2

server = grpc.server(futures.ThreadPoolExecutor(4))
servicer = health.HealthServicer()
servicer.set("name", health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
reflection.enable_server_reflection([health.SERVICE_NAME, reflection.SERVICE_NAME], server)

def refuse(request, context):
    context.abort_with_status(rpc_status.to_status(status_pb2.Status(code=5, message="nothing here")))

handler = grpc.unary_unary_rpc_method_handler(refuse)
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("s", {"m": handler})])
port = server.add_insecure_port("localhost:0")
server.start()
with grpc.insecure_channel(f"localhost:{port}") as channel:
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="name")
    assert stub.Check(request, timeout=20).status == health_pb2.HealthCheckResponse.SERVING
    database = ProtoReflectionDescriptorDatabase(channel)
    assert sorted(database.get_services()) == sorted([health.SERVICE_NAME, reflection.SERVICE_NAME])
    try:
        channel.unary_unary("/s/m")(b"", timeout=20)
    except grpc.RpcError as error:
        assert rpc_status.from_call(error).message == "nothing here"
server.stop(None).wait(20)
""")


def test_packages_of_others_with_asyncio() -> None:
    run("""
import asyncio
import pygrpc
pygrpc.install()
import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

async def refuse(request, context):
    status = status_pb2.Status(code=9, message="not like this")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="BECAUSE"))
    await context.abort_with_status(rpc_status.to_status(status))

async def main():
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    await servicer.set("name", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection([health.SERVICE_NAME], server)
    handler = grpc.unary_unary_rpc_method_handler(refuse)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("s", {"m": handler})])
    port = server.add_insecure_port("localhost:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"localhost:{port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="name"), timeout=20)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        await servicer.enter_graceful_shutdown()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(timeout=20)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        (service,) = (await call.read()).list_services_response.service
        assert service.name == health.SERVICE_NAME
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        failing = channel.unary_unary("/s/m")(b"", timeout=20)
        try:
            await failing
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
            (detail,) = (await rpc_status.aio.from_call(failing)).details
            info = error_details_pb2.ErrorInfo()
            assert detail.Unpack(info) and info.reason == "BECAUSE"
        else:
            raise AssertionError
    await server.stop(None)

asyncio.run(main())
""")


def test_the_version_of_grpcio_is_new_enough() -> None:
    program = """
import pygrpc
pygrpc.install()
import importlib.metadata
import grpc
print(importlib.metadata.version("grpcio"), grpc.__version__)
try:
    importlib.metadata.distribution("grpcio").locate_file("x")
except FileNotFoundError:
    pass
assert importlib.metadata.distribution("grpcio").read_text("RECORD") is None
assert importlib.metadata.version("h2") != grpc.__version__
"""
    assert run(program) == "1.99.0 1.99.0"


def test_too_late() -> None:
    program = """
import grpc
import pygrpc
try:
    pygrpc.install()
except RuntimeError as error:
    print(error)
"""
    text = run(program)
    assert text.startswith("pygrpc.install() came too late: grpc was imported before, from ")
    assert "Call it before anything that imports grpc" in text


def test_what_is_not_there_is_not_taken_from_elsewhere() -> None:
    program = """
import pygrpc
pygrpc.install()
for name in ("grpc.status", "grpc.beta", "grpc._observability"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        assert error.name == name
        print(error)
try:
    pygrpc._nothing
except AttributeError as error:
    print(error)
"""
    lines = run(program).splitlines()
    assert (
        lines[0]
        == "No module named 'grpc.status': pygrpc stands in for grpc, and has none; docs/compat.md lists what it has"
    )
    assert len(lines) == 4
    assert lines[3] == "module 'pygrpc' has no attribute '_nothing'"


def test_uninstall() -> None:
    run("""
import pygrpc
pygrpc.uninstall()
pygrpc.install()
import grpc
assert grpc is pygrpc
pygrpc.uninstall()
import grpc
assert grpc is not pygrpc
try:
    pygrpc.install()
except RuntimeError:
    pass
else:
    raise AssertionError
""")


def test_substituted_for_a_while() -> None:
    run("""
import grpc
import pygrpc
from pygrpc import compat
with compat.substituted():
    import grpc as ours
    assert ours is pygrpc
    with compat.substituted():
        import grpc.aio
    import grpc as still_ours
    assert still_ours is pygrpc
import grpc as theirs
assert theirs is not pygrpc
""")


def test_loggers() -> None:
    run("""
import logging
import pygrpc
records = []
class Handler(logging.Handler):
    def emit(self, record):
        records.append(record)
logging.getLogger("grpc").addHandler(Handler())
logging.getLogger("pygrpc").warning("before")
pygrpc.install()
logging.getLogger("pygrpc").warning("installed")
pygrpc.uninstall()
logging.getLogger("pygrpc").warning("behind")
assert [record.message if hasattr(record, "message") else record.getMessage() for record in records] == ["installed"]
""")


def test_what_stands_for_the_core() -> None:
    cygrpc = compat.load("grpc._cython.cygrpc")
    assert cygrpc.dump_xds_configs() == b""
    cygrpc.reset_grpc_config_vars()
    with pytest.raises(NotImplementedError, match="channelz"):
        cygrpc.channelz_get_top_channels(0)


def test_what_stands_for_types() -> None:
    run("""
import pygrpc
pygrpc.install()
from grpc import _typing
import grpc._typing
assert grpc._typing.ChannelArgumentType is _typing.ChannelArgumentType
""")
