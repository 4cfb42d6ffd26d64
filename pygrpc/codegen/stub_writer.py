"""Writes ``<name>_pb2_grpc.pyi``: what type checkers read in place of the module.

A stub's callables depend on the API that its channel belongs to, and no annotation of an attribute can say that: so
each is a descriptor, whose ``__get__`` is overloaded on the stub's type, and that has the type of the channel as its
parameter. A servicer's methods may be written for either API, so their signatures join those of both.

Proto names share a scope with all that the text needs; hence every helper takes a name that no service and no method
has.
"""

from __future__ import annotations

from collections.abc import Callable

from pygrpc.codegen.imports import ImportStyle
from pygrpc.codegen.names import Names, alias_of, attribute, is_name
from pygrpc.codegen.services import MessageType, Method, Service, ServiceFile
from pygrpc.codegen.texts import docstring, module_head

_ARITIES = {
    "unary_unary": "UnaryUnary",
    "unary_stream": "UnaryStream",
    "stream_unary": "StreamUnary",
    "stream_stream": "StreamStream",
}

_HELPERS = ("_abc", "_grpc", "_aio", "_t", "_tx", "_Channel", "_Request", "_Response", "_Stub", "_Context", "_Requests")

_PREAMBLE = """
{Channel} = {tx}.TypeVar("{Channel}", {grpc}.Channel, {aio}.Channel, default={grpc}.Channel)
{Request} = {tx}.TypeVar("{Request}")
{Response} = {tx}.TypeVar("{Response}")

@{t}.type_check_only
class {Stub}({t}.Generic[{Channel}]):
    def __init__(self, channel: {Channel}) -> None: ...
"""

_CALLABLE = """
@{t}.type_check_only
class {Callable}({t}.Generic[{Request}, {Response}]):
    @{t}.overload
    def __get__(
        self, stub: {Stub}[{grpc}.Channel], owner: {t}.Any
    ) -> {grpc}.{arity}MultiCallable[{Request}, {Response}]: ...
    @{t}.overload
    def __get__(
        self, stub: {Stub}[{aio}.Channel], owner: {t}.Any
    ) -> {aio}.{arity}MultiCallable[{Request}, {Response}]: ...
"""

_CONTEXT = """
# The context of a handler in either API: what an override says of its own parameter fits both ways.
@{t}.type_check_only
class {Context}(  # type: ignore[misc, unused-ignore]
    {grpc}.ServicerContext, {aio}.ServicerContext[{t}.Any, {t}.Any]
): ...
"""

_REQUESTS = """
# Requests as a handler of either API gets them.
@{t}.type_check_only
class {Requests}(
    {t}.AsyncIterator[{Request}], {t}.Iterator[{Request}], metaclass={abc}.ABCMeta
): ...
"""

_SIMPLE = """
@{t}.type_check_only
class {Simple}({t}.Generic[{Request}, {Response}]):
    def __call__(
        self,
        {parameter}: {Request},
        target: str,
        options: {t}.Sequence[tuple[str, {t}.Any]] = ...,
        channel_credentials: {grpc}.ChannelCredentials | None = ...,
        call_credentials: {grpc}.CallCredentials | None = ...,
        insecure: bool = ...,
        compression: {grpc}.Compression | None = ...,
        wait_for_ready: bool | None = ...,
        timeout: float | None = ...,
        metadata: {t}.Sequence[tuple[str, str | bytes]] | None = ...,
    ) -> {Response}: ...
"""


def write_stub(file: ServiceFile, style: ImportStyle, grpc_module: str) -> str:
    """Writes the type stub of the module with the stubs and servicers of a file.

    Args:
        file: The services.
        style: How to import the messages.
        grpc_module: What the module imports as ``grpc``.

    Returns:
        The text of the type stub.
    """
    return _Writer(file, style, grpc_module).text()


class _Writer:
    """Writes one type stub."""

    def __init__(self, file: ServiceFile, style: ImportStyle, grpc_module: str) -> None:
        self._file = file
        self._style = style
        self._grpc_module = grpc_module
        self._names = Names(_names_of_protos(file))
        self._own = {wish.lstrip("_"): self._names.claim(wish) for wish in _HELPERS}
        self._aliases = {
            module: self._names.claim(alias_of(module))
            for module in file.message_modules
            if style.statement(module, file.package, "_") is not None
        }
        self._callables = {arity: self._names.claim(f"_{kind}") for arity, kind in _ARITIES.items()}
        self._simple = {
            parameter: self._names.claim(name)
            for parameter, name in (("request", "_Call"), ("request_iterator", "_StreamCall"))
        }

    def text(self) -> str:
        """Returns the whole text."""
        parts = [module_head(self._file.proto), self._imports(), self._helpers()]
        for service in self._file.services:
            parts += [self._stub(service), self._servicer(service), self._registration(service)]
            parts.append(self._simple_class(service))
        return "".join(parts)

    def _imports(self) -> str:
        lines = [
            f"import abc as {self._own['abc']}",
            f"import {self._grpc_module} as {self._own['grpc']}",
            f"import {self._grpc_module}.aio as {self._own['aio']}",
            f"import typing as {self._own['t']}",
            f"import typing_extensions as {self._own['tx']}",
            "",
        ]
        for module, alias in self._aliases.items():
            lines.append(self._style.statement(module, self._file.package, alias) or "")
        return "\n" + "".join(f"{line}\n" for line in lines)

    def _helpers(self) -> str:
        """Gives the helpers that the services of this file need."""
        own, methods = self._own, self._file.methods
        text = _PREAMBLE.format(**own)
        for arity, name in self._callables.items():
            if any(method.arity == arity for method in methods):
                text += _CALLABLE.format(**own, Callable=name, arity=_ARITIES[arity])
        for parameter, name in self._simple.items():
            if any(_parameter(method) == parameter for method in methods):
                text += _SIMPLE.format(**own, Simple=name, parameter=parameter)
        if methods:
            text += _CONTEXT.format(**own)
        if any(method.request_streaming for method in methods):
            text += _REQUESTS.format(**own)
        return text

    def _stub(self, service: Service) -> str:
        own = self._own
        text = f"\nclass {service.name}Stub({own['Stub']}[{own['Channel']}]):\n"
        text += docstring(service.comment, f"Calls the methods of the service {service.full_name}.", "    ")
        text += self._attributes(
            service.methods,
            lambda method: f"{self._callables[method.arity]}[{self._pair(method.request, method.response)}]",
        )
        return text + f"\n{service.async_stub}: {own['tx']}.TypeAlias = {service.name}Stub[{own['aio']}.Channel]\n"

    def _servicer(self, service: Service) -> str:
        own, t = self._own, self._own["t"]
        text = f"\nclass {service.name}Servicer:\n"
        text += docstring(service.comment, f"Serves the methods of the service {service.full_name}.", "    ")
        for method in service.methods:
            request, response = self._type(method.request), self._type(method.response)
            if method.request_streaming:
                request = f"{own['Requests']}[{request}]"
            if method.response_streaming:
                # A handler that is a coroutine function writes its responses to the context.
                returns = f"{t}.Iterator[{response}] | {t}.AsyncIterator[{response}] | {t}.Awaitable[None]"
            else:
                returns = f"{response} | {t}.Awaitable[{response}]"
            parameters = f"self, {_parameter(method)}: {request}, context: {own['Context']}, /"
            text += f"    def {method.attribute}({parameters}) -> {returns}:\n"
            text += docstring(method.comment, f"Serves {method.name}.", " " * 8)
        return text

    def _registration(self, service: Service) -> str:
        own = self._own
        return (
            f"\ndef add_{service.name}Servicer_to_server(\n"
            f"    servicer: {service.name}Servicer, server: {own['grpc']}.Server | {own['aio']}.Server\n"
            f") -> None: ...\n"
        )

    def _simple_class(self, service: Service) -> str:
        def annotation(method: Method) -> str:
            request, response, t = self._type(method.request), self._type(method.response), self._own["t"]
            request = f"{t}.Iterator[{request}]" if method.request_streaming else request
            response = f"{t}.Iterator[{response}]" if method.response_streaming else response
            return f"{self._simple[_parameter(method)]}[{request}, {response}]"

        text = f"\nclass {service.simple}:\n"
        text += docstring(service.comment, f"Calls the methods of {service.full_name} without a stub.", "    ")
        return text + self._attributes(service.methods, annotation)

    def _attributes(self, methods: tuple[Method, ...], annotation: Callable[[Method], str]) -> str:
        text = ""
        for method in methods:
            text += f"    {method.attribute}: {self._own['t']}.ClassVar[{annotation(method)}]\n"
            text += docstring(method.comment, f"Calls {method.name}.", "    ")
        return text

    def _pair(self, request: MessageType, response: MessageType) -> str:
        return f"{self._type(request)}, {self._type(response)}"

    def _type(self, message: MessageType) -> str:
        """Spells a message type; Any where no import can name its module, or a class would mangle its name."""
        alias = self._aliases.get(message.module)
        if alias is None or any(name.startswith("__") for name in message.path):
            return f"{self._own['t']}.Any"
        return attribute(alias, map(type_name, message.path))


def type_name(name: str) -> str:
    """Gives the name of a message in type stubs: that in the proto, unless Python can't spell it as an attribute."""
    return name if is_name(name) else f"_{name}_"


def _parameter(method: Method) -> str:
    return "request_iterator" if method.request_streaming else "request"


def _names_of_protos(file: ServiceFile) -> set[str]:
    """Collects the names that the text gets from the proto, in whatever scope."""
    names = {method.attribute for method in file.methods}
    for service in file.services:
        names |= {f"{service.name}Stub", f"{service.name}Servicer", f"add_{service.name}Servicer_to_server"}
        names |= {service.simple, service.async_stub}
    return names
