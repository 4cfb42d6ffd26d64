"""The names of grpcio's private modules that programs and packages import, and what they do with them."""

from __future__ import annotations

import importlib
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import pygrpc
from pygrpc import _utilities, compat
from pygrpc._private import auth, channel, common, compression, interceptor, server
from tests.sync.peers import BOUND, ECHO, SERVICE, serve

OURS = [name for name, target in compat._MODULES.items() if isinstance(target, str) and target.startswith("pygrpc._")]


@pytest.mark.parametrize("name", OURS)
def test_no_name_is_made_up(name: str) -> None:
    module, real = compat.load(name), importlib.import_module(name)
    listed = getattr(module, "__all__", None)
    public = {key for key, value in vars(module).items() if not key.startswith("_") and _is_own(module, value)}
    # Two modules of grpcio are one here.
    others = vars(importlib.import_module("grpc._auth")) if name == "grpc._plugin_wrapping" else {}
    others |= vars(importlib.import_module("grpc._plugin_wrapping")) if name == "grpc._auth" else {}
    assert not [key for key in listed or public if not hasattr(real, key) and key not in others]


def _is_own(module: ModuleType, value: Any) -> bool:
    return getattr(value, "__module__", None) == module.__name__


def test_the_errors_that_programs_catch() -> None:
    assert issubclass(channel._InactiveRpcError, pygrpc.RpcError)
    assert issubclass(channel._MultiThreadedRendezvous, channel._Rendezvous)
    assert issubclass(channel._SingleThreadedRendezvous, channel._Rendezvous)
    with serve(us=ECHO["us"]) as link:
        call = link.method("us")(b"a")
        assert isinstance(call, channel._Rendezvous)
        assert isinstance(link.channel, channel.Channel)
        list(call)


def test_how_the_library_calls_itself() -> None:
    seen: list[Any] = []

    def look(request: bytes, context: Any) -> bytes:
        seen.append(dict(context.invocation_metadata())["user-agent"])
        return b""

    with serve(channel={"options": [("grpc.primary_user_agent", "mine")]}, uu=look) as link:
        link.method("uu")(b"a")
    assert seen == [f"mine {channel._USER_AGENT}"]


def test_an_error_that_is_made_for_a_test() -> None:
    state = channel._RPCState((), (("a", "1"),), (("b", "2"),), pygrpc.StatusCode.NOT_FOUND, "not here")
    error = channel._InactiveRpcError(state)
    assert error.code() is pygrpc.StatusCode.NOT_FOUND
    assert error.details() == "not here"
    assert error.initial_metadata() == (("a", "1"),)
    assert error.trailing_metadata() == (("b", "2"),)
    assert error.debug_error_string() == "NOT_FOUND:not here"
    made_up = SimpleNamespace(code=pygrpc.StatusCode.ABORTED, details=b"t\xc3\xa9xt", initial_metadata=None)
    made_up.trailing_metadata = None
    error = channel._InactiveRpcError(state=made_up)
    assert (error.code(), error.details(), error.trailing_metadata()) == (pygrpc.StatusCode.ABORTED, "téxt", None)


def test_an_interceptor_that_makes_its_own_details() -> None:
    class Tagging(pygrpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            metadata = [*(details.metadata or ()), ("tag", "value")]
            changed = interceptor._ClientCallDetails(
                details.method, details.timeout, metadata, details.credentials, details.wait_for_ready, None
            )
            outcome = continuation(changed, request)
            assert isinstance(outcome, interceptor._UnaryOutcome)
            return outcome

    def handler(request: bytes, context: Any) -> bytes:
        return dict(context.invocation_metadata())["tag"].encode()

    with serve(uu=handler) as link:
        intercepted = interceptor.intercept_channel(link.channel, Tagging())
        assert isinstance(intercepted, interceptor._Channel)
        assert intercepted.unary_unary(f"/{SERVICE}/uu")(b"", timeout=BOUND) == b"value"


def test_a_server_interceptor_that_makes_its_own_handler() -> None:
    def shout(request: bytes, context: Any) -> bytes:
        assert isinstance(context, server._Context)
        return request.upper()

    class Shouting(pygrpc.ServerInterceptor):
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            assert isinstance(details, server._HandlerCallDetails)
            handler = continuation(details)
            return _utilities.RpcMethodHandler(
                request_streaming=handler.request_streaming,
                response_streaming=handler.response_streaming,
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
                unary_unary=shout,
                unary_stream=None,
                stream_unary=None,
                stream_stream=None,
            )

    with serve(server={"interceptors": [Shouting()]}, uu=ECHO["uu"]) as link:
        assert link.method("uu")(b"quiet", timeout=BOUND) == b"QUIET"


def test_a_server_that_a_test_makes_up() -> None:
    handler = pygrpc.unary_unary_rpc_method_handler(ECHO["uu"])
    generic = pygrpc.method_handlers_generic_handler("a.B", {"C": handler})
    server._validate_generic_rpc_handlers([generic])
    assert isinstance(generic, _utilities.DictionaryGenericHandler)
    assert generic._method_handlers == {"/a.B/C": handler}
    with pytest.raises(AttributeError, match="has no method 'service', so it is no"):
        server._validate_generic_rpc_handlers([handler])


def test_codes_by_their_numbers() -> None:
    assert common.CYGRPC_STATUS_CODE_TO_STATUS_CODE[5] is pygrpc.StatusCode.NOT_FOUND  # type: ignore[index]
    assert common.STATUS_CODE_TO_CYGRPC_STATUS_CODE[pygrpc.StatusCode.UNAUTHENTICATED] == 16
    assert len(common.CYGRPC_STATUS_CODE_TO_STATUS_CODE) == len(pygrpc.StatusCode)
    states = common.CYGRPC_CONNECTIVITY_STATE_TO_CHANNEL_CONNECTIVITY
    assert {number: state.value[0] for number, state in states.items()} == {number: number for number in range(5)}


def test_functions_of_common(caplog: pytest.LogCaptureFixture) -> None:
    assert common.encode("é") == common.encode("é".encode()) == b"\xc3\xa9"
    assert common.decode(b"\xc3\xa9\xff") == "é\N{REPLACEMENT CHARACTER}"
    assert common.decode("é") == "é"
    assert common.serialize("a", str.encode) == b"a"
    assert common.deserialize(b"a", bytes.decode) == "a"
    assert common.serialize(b"a", None) == b"a"
    assert common.deserialize(b"\xff", bytes.decode) is None
    assert "Exception deserializing message!" in caplog.text


def test_options_by_the_names_of_the_core() -> None:
    cygrpc = compat.load("grpc._cython.cygrpc")
    options = [
        (cygrpc.ChannelArgKey.max_receive_message_length, 10),
        ("grpc.default_compression_algorithm", cygrpc.CompressionAlgorithm.gzip),
        *compression.create_channel_option(compression.Gzip),
    ]
    with serve(uu=ECHO["uu"]) as link, pygrpc.insecure_channel(link.target, options) as limited:
        with pytest.raises(pygrpc.RpcError) as caught:
            limited.unary_unary(f"/{SERVICE}/uu")(bytes(11), timeout=BOUND)
        assert caught.value.code() is pygrpc.StatusCode.RESOURCE_EXHAUSTED
    assert compression.create_channel_option(None) == ()
    assert compression.create_channel_option(compression.NoCompression) == ()


def test_plugins_that_sign_calls() -> None:
    class Named:
        def get_access_token(self) -> Any:
            return SimpleNamespace(access_token="token")

    class ForAService:
        def get_access_token(self, additional_claims: dict[str, str]) -> Any:
            return SimpleNamespace(access_token=additional_claims["aud"])

    class Broken:
        def get_access_token(self) -> Any:
            raise ValueError("no token today")

    seen: list[Any] = []
    context = auth._AuthMetadataContext("https://service", "Method")
    for credentials in (Named(), ForAService(), Broken()):
        auth.GoogleCallCredentials(credentials)(context, lambda *answer: seen.append(answer))
    auth.AccessTokenAuthMetadataPlugin("given")(context, lambda *answer: seen.append(answer))
    assert seen[0] == ((("authorization", "Bearer token"),), None)
    assert seen[1] == ((("authorization", "Bearer https://service"),), None)
    assert isinstance(seen[2][1], ValueError)
    assert seen[3] == ((("authorization", "Bearer given"),), None)
    assert isinstance(
        auth.metadata_plugin_call_credentials(auth.AccessTokenAuthMetadataPlugin("a")), pygrpc.CallCredentials
    )


def test_the_logging_pool(caplog: pytest.LogCaptureFixture) -> None:
    pool = compat.load("grpc.framework.foundation.logging_pool").pool(1)

    def raises() -> None:
        raise ValueError("a mistake")

    with pool:
        assert pool.submit(int, "1").result(20) == 1
        assert list(pool.map(int, ["1", "2"])) == [1, 2]
        assert isinstance(pool.submit(raises).exception(20), ValueError)
    assert "a mistake" in caplog.text


def test_functions_whose_errors_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    callable_util = compat.load("grpc.framework.foundation.callable_util")
    outcome = callable_util.call_logging_exceptions(int, "no number", "7")
    assert (outcome.kind, outcome.return_value) == (callable_util.Outcome.Kind.RETURNED, 7)
    outcome = callable_util.with_exceptions_logged(int, "no number")("seven")
    assert (outcome.kind, type(outcome.exception)) == (callable_util.Outcome.Kind.RAISED, ValueError)
    assert "no number" in caplog.text


def test_errors_of_the_face_interface() -> None:
    face = compat.load("grpc.framework.interfaces.face.face")
    error = face.ExpirationError((), (), pygrpc.StatusCode.DEADLINE_EXCEEDED, "late")
    assert isinstance(error, face.AbortionError)
    assert str(error) == 'ExpirationError(code=StatusCode.DEADLINE_EXCEEDED, details="late")'


async def test_interceptors_that_are_added_to_a_channel_of_asyncio() -> None:
    """As the asyncio clients of Google's APIs do: to the lists of the channel, before they make their methods."""
    seen: list[Any] = []

    class Noting(
        pygrpc.aio.UnaryUnaryClientInterceptor,
        pygrpc.aio.UnaryStreamClientInterceptor,
        pygrpc.aio.StreamUnaryClientInterceptor,
        pygrpc.aio.StreamStreamClientInterceptor,
    ):
        async def note(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return await continuation(details, request)

        intercept_unary_unary = intercept_unary_stream = intercept_stream_unary = intercept_stream_stream = note

    with serve(**ECHO) as link:
        async with pygrpc.aio.insecure_channel(link.target) as opened:
            untyped: Any = opened
            for arity in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
                getattr(untyped, f"_{arity}_interceptors").append(Noting())
            assert await opened.unary_unary(f"/{SERVICE}/uu")(b"a", timeout=BOUND) == b"a"
            assert [each async for each in opened.unary_stream(f"/{SERVICE}/us")(b"a", timeout=BOUND)] == [b"a"] * 3
            assert await opened.stream_unary(f"/{SERVICE}/su")([b"a"], timeout=BOUND) == b"a"
            assert [each async for each in opened.stream_stream(f"/{SERVICE}/ss")([b"a"], timeout=BOUND)] == [b"a"]
    # Their interceptors are given the method in bytes.
    assert seen == [f"/{SERVICE}/{arity}".encode() for arity in ECHO]
