"""Run by .ci/run in an environment that has nothing but the wheel and its dependencies."""

import asyncio
import importlib.metadata
import importlib.util
import subprocess
import sys

import pygrpc
import pygrpc.aio

ALLOWED = {"pygrpc", "h2", "hpack", "hyperframe", "protobuf", "pip", "setuptools"}


async def call_once() -> None:
    """Makes one call over loopback, so that more than the imports is tried."""

    async def echo(request: bytes, context: pygrpc.aio.ServicerContext) -> bytes:
        return request

    server = pygrpc.aio.server()
    handlers = {"Echo": pygrpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((pygrpc.method_handlers_generic_handler("smoke.Wheel", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with asyncio.timeout(20), pygrpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await channel.unary_unary("/smoke.Wheel/Echo")(b"hello") == b"hello"
        with pygrpc.insecure_channel(f"127.0.0.1:{port}") as blocking:
            assert await asyncio.to_thread(blocking.unary_unary("/smoke.Wheel/Echo"), b"hello", timeout=20) == b"hello"
    await server.stop(None)


def try_generated_code() -> None:
    """Imports what has generated modules, where protobuf is new enough for them."""
    protobuf = tuple(map(int, importlib.metadata.version("protobuf").split(".")[:3]))
    if protobuf >= (7, 35, 1):
        import pygrpc.health.v1.health
        import pygrpc.reflection.v1alpha.reflection  # noqa: F401


def try_missing_extra() -> None:
    """Runs a command that needs more than the wheel: it has to say so in a sentence."""
    ended = subprocess.run([sys.executable, "-m", "pygrpc.cli", "serve"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1 and "pip install" in ended.stderr and "Traceback" not in ended.stderr, ended


installed = {distribution.name for distribution in importlib.metadata.distributions()}
assert installed <= ALLOWED, f"more than the runtime dependencies was installed: {sorted(installed - ALLOWED)}"
assert importlib.util.find_spec("grpc") is None, "grpcio is importable"
asyncio.run(call_once())
try_generated_code()
try_missing_extra()
versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("h2", "hpack", "protobuf"))
print(f"pygrpc {importlib.metadata.version('pygrpc')} imports and serves a call with {versions}.")
