"""Method handlers and generic handlers."""

from types import SimpleNamespace

import pytest

from pygrpc import handlers
from pygrpc.handlers import GenericRpcHandler, RpcMethodHandler, ServiceRpcHandler


def behaviour() -> None:
    """Stands for what a user wrote."""


@pytest.mark.parametrize("arity", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
def test_a_factory_fills_one_behaviour(arity: str) -> None:
    handler = getattr(handlers, f"{arity}_rpc_method_handler")(behaviour, int, str)
    assert isinstance(handler, RpcMethodHandler)
    request, _, response = arity.partition("_")
    assert handler.request_streaming is (request == "stream")
    assert handler.response_streaming is (response == "stream")
    assert handler.request_deserializer is int
    assert handler.response_serializer is str
    for name in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
        assert getattr(handler, name) is (behaviour if name == arity else None)


@pytest.mark.parametrize("arity", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
def test_serializers_are_optional(arity: str) -> None:
    handler = getattr(handlers, f"{arity}_rpc_method_handler")(behaviour)
    assert handler.request_deserializer is None
    assert handler.response_serializer is None


def test_a_generic_handler_finds_methods_by_their_full_names() -> None:
    method = handlers.unary_unary_rpc_method_handler(behaviour)
    generic = handlers.method_handlers_generic_handler("a.B", {"C": method})
    assert isinstance(generic, ServiceRpcHandler)
    assert isinstance(generic, GenericRpcHandler)
    assert generic.service_name() == "a.B"
    for name, found in {"/a.B/C": method, "/a.B/D": None, "/a.B/c": None, "a.B/C": None, "C": None, "": None}.items():
        assert generic.service(SimpleNamespace(method=name, invocation_metadata=())) is found


def test_a_method_handler_may_be_a_class_of_the_users() -> None:
    class Own(RpcMethodHandler):
        request_streaming = False

    assert Own().request_streaming is False


class Choosy(GenericRpcHandler):
    """A generic handler that somebody else wrote."""

    def service(self, handler_call_details: handlers.HandlerCallDetails) -> RpcMethodHandler | None:
        return None


def test_handlers_are_known_as_long_as_nobody_else_is_to_be_asked_first() -> None:
    first, second, third = (handlers.unary_unary_rpc_method_handler(behaviour) for _ in range(3))
    services = [
        handlers.method_handlers_generic_handler("a.A", {"M": first, "N": first}),
        handlers.method_handlers_generic_handler("a.A", {"M": second, "O": second}),
        Choosy(),
        handlers.method_handlers_generic_handler("a.B", {"M": third}),
    ]
    known = handlers.known_handlers({"/a.A/N": third}, services)
    assert known == {"/a.A/N": third, "/a.A/M": first, "/a.A/O": second}
    assert handlers.known_handlers({}, services[2:]) == {}


@pytest.mark.parametrize("arity", ["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
def test_the_kind_of_a_handler_says_which_behaviour_counts(arity: str) -> None:
    # Wrappers of tracers have all four, whatever the method is (ddtrace's do).
    request, _, response = arity.partition("_")
    wrapper = SimpleNamespace(
        request_streaming=request == "stream",
        response_streaming=response == "stream",
        unary_unary="unary_unary",
        unary_stream="unary_stream",
        stream_unary="stream_unary",
        stream_stream="stream_stream",
    )
    assert handlers.behavior_of(wrapper) == arity  # type: ignore[arg-type, comparison-overlap]
