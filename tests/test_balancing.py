"""What users have of balancing: the public module, and the policy of docs/balancing.md at work."""

from __future__ import annotations

import re
from typing import Any

import pytest

import pygrpc
from pygrpc import aio, balancing
from pygrpc.core.balancing import policy
from pygrpc.core.balancing.load_report import METADATA_KEY, LoadReport, find_report
from tests.source_tree import ROOT
from tests.sync.backends import METHOD, MIXED, backends, service_config, until
from tests.sync.peers import BOUND


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """Runs the example of the page, which registers a policy."""
    monkeypatch.setattr(policy, "_registry", dict(policy._registry))
    text = (ROOT / "docs" / "balancing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(blocks[1], names)
    found: type[Any] = names["Prefer"]
    assert policy.find("prefer") is found
    return found


def test_all_names_are_there() -> None:
    for name in balancing.__all__:
        assert hasattr(balancing, name)


def test_the_policy_of_the_page_prefers_addresses(example: type[Any]) -> None:
    with backends(*MIXED, "pygrpc") as (target, servers):
        settings = {"addresses": [f"127.0.0.1:{server.port}" for server in servers[1:]]}
        with pygrpc.insecure_channel(target, service_config("prefer", settings)) as channel:
            call = channel.unary_unary(METHOD)
            until(lambda: all(server.calls for server in servers[1:]), lambda: call(b"", timeout=BOUND))
            before = [server.calls for server in servers]
            for _ in range(6):
                call(b"", timeout=BOUND)
            assert [server.calls - count for server, count in zip(servers, before, strict=True)] == [0, 3, 3]


def test_a_mistake_in_its_configuration_is_named(example: type[Any]) -> None:
    options = service_config("prefer", {"addresses": 1})
    with pygrpc.insecure_channel("127.0.0.1:1", options) as channel, pytest.raises(pygrpc.RpcError) as caught:
        channel.unary_unary(METHOD)(b"")
    assert "loadBalancingConfig[0].prefer: addresses must be a list, not 1" in caught.value.details()


async def test_a_policy_of_a_user_that_raises_breaks_nothing(
    example: type[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make_picker(self: Any, ready: Any) -> Any:
        raise LookupError("no idea")

    with backends("pygrpc") as (target, _):
        async with aio.insecure_channel(target, service_config("prefer")) as channel:
            with monkeypatch.context() as patch:
                patch.setattr(example, "make_picker", make_picker)
                with pytest.raises(aio.AioRpcError) as caught:
                    await channel.unary_unary(METHOD)(b"", timeout=BOUND)
        async with aio.insecure_channel(target, service_config("prefer")) as channel:
            assert await channel.unary_unary(METHOD)(b"x", timeout=BOUND) == b"x"
    assert caught.value.code() is pygrpc.StatusCode.UNAVAILABLE
    assert "the load balancing policy 'prefer' raised LookupError: no idea" in (caught.value.details() or "")
    assert "no idea" in caplog.text


# Load reports of servers.

REPORT = LoadReport(cpu_utilization=0.5, rps_fractional=100)


def handle(request: bytes, context: Any) -> bytes:
    context.set_trailing_metadata((("a", "b"),))
    balancing.report_load(context, REPORT)
    return request


async def handle_in_loop(request: bytes, context: Any) -> bytes:
    balancing.report_load(context, REPORT)
    return handle(request, context)


@pytest.mark.parametrize("handler", [handle, handle_in_loop])
async def test_a_server_sends_a_load_report(handler: Any) -> None:
    server = aio.server()
    methods = {"Call": pygrpc.unary_unary_rpc_method_handler(handler)}
    server.add_generic_rpc_handlers((pygrpc.method_handlers_generic_handler("balancing.Test", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(METHOD)(b"x", timeout=BOUND)
        assert await call == b"x"
        trailers = await call.trailing_metadata()
    await server.stop(None)
    assert sorted(key for key, _ in trailers) == ["a", METADATA_KEY]
    assert find_report(tuple(trailers)) == REPORT
