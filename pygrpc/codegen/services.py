"""The services of a .proto file, as the writers of modules and of type stubs need them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from pygrpc.codegen.names import Names, alias_of, module_of

#: What the generated text itself calls by name: a class of the same name would hide it.
_USED = ("grpc", "importlib", "staticmethod", "getattr", "NotImplementedError", "str", "bool", "float", "tuple")

# Field numbers of descriptor.proto, of which the paths in SourceCodeInfo are made.
_FILE_SERVICE = 6
_SERVICE_METHOD = 2


@dataclass(frozen=True, slots=True)
class MessageType:
    """A message type.

    Attributes:
        module: Dotted name of its module below the output folder.
        path: Its name within the module, from the outermost message inwards.
    """

    module: str
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service.

    Attributes:
        name: What the proto calls it, which goes over the wire.
        attribute: What Python calls it: the same, unless that is a keyword.
        request: Type of the requests.
        response: Type of the responses.
        request_streaming: Whether there may be any number of requests.
        response_streaming: Whether there may be any number of responses.
        comment: The proto's comment on it, or an empty string.
    """

    name: str
    attribute: str
    request: MessageType
    response: MessageType
    request_streaming: bool
    response_streaming: bool
    comment: str

    @property
    def arity(self) -> str:
        """The kind of call, such as ``unary_stream``."""
        kinds = {False: "unary", True: "stream"}
        return f"{kinds[self.request_streaming]}_{kinds[self.response_streaming]}"


@dataclass(frozen=True, slots=True)
class Service:
    """A service.

    Attributes:
        name: Its short name.
        full_name: Its name with the package, as it goes over the wire.
        simple: Name of the class with a static method for each call, which grpcio calls experimental.
        async_stub: Name of the stub on a channel of the asyncio API.
        methods: In the order of the proto.
        comment: The proto's comment on it, or an empty string.
    """

    name: str
    full_name: str
    simple: str
    async_stub: str
    methods: tuple[Method, ...]
    comment: str


@dataclass(frozen=True, slots=True)
class ServiceFile:
    """A .proto file with services.

    Attributes:
        proto: Its path below the folder of protos.
        module: Dotted name of its message module below the output folder.
        services: In the order of the proto.
    """

    proto: str
    module: str
    services: tuple[Service, ...]

    @property
    def package(self) -> str:
        """Dotted package below the output folder that the generated modules are in."""
        return self.module.rpartition(".")[0]

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods of all services."""
        return tuple(method for service in self.services for method in service.methods)

    @property
    def message_modules(self) -> tuple[str, ...]:
        """Dotted names of the modules of all requests and responses, sorted."""
        types = [message for method in self.methods for message in (method.request, method.response)]
        return tuple(sorted({message.module for message in types}))


def message_types(files: Iterable[FileDescriptorProto]) -> dict[str, MessageType]:
    """Maps the full name of each message of some files, ``.package.Outer.Inner``, to where Python finds it."""
    return {name: found for file in files for name, found in _types_of(file)}


def read_services(file: FileDescriptorProto, types: Mapping[str, MessageType]) -> ServiceFile:
    """Reads the services of a file.

    Args:
        file: The file, with its source code info if comments are wanted.
        types: The messages of the file and of all that it imports, from ``message_types``.

    Returns:
        The services, with names for Python that neither collide nor are keywords.
    """
    comments = _comments(file)
    # The names that everybody relies on go first. They can't collide, for services of one file have different names.
    used_types = {name for service in file.service for m in service.method for name in (m.input_type, m.output_type)}
    names = Names([*_USED, *(alias_of(types[name].module) for name in used_types)])
    for form in ("{}Stub", "{}Servicer", "add_{}Servicer_to_server"):
        names.claim_all(form.format(service.name) for service in file.service)
    simple = names.claim_all(service.name for service in file.service)
    async_stubs = names.claim_all(f"{service.name}AsyncStub" for service in file.service)
    services = []
    for number, service in enumerate(file.service):
        attributes = Names().claim_all(method.name for method in service.method)
        methods = tuple(
            Method(
                name=method.name,
                attribute=attributes[index],
                request=types[method.input_type],
                response=types[method.output_type],
                request_streaming=method.client_streaming,
                response_streaming=method.server_streaming,
                comment=comments.get((_FILE_SERVICE, number, _SERVICE_METHOD, index), ""),
            )
            for index, method in enumerate(service.method)
        )
        full_name = f"{file.package}.{service.name}" if file.package else service.name
        comment = comments.get((_FILE_SERVICE, number), "")
        services.append(Service(service.name, full_name, simple[number], async_stubs[number], methods, comment))
    return ServiceFile(file.name, module_of(file.name), tuple(services))


def _types_of(file: FileDescriptorProto) -> Iterator[tuple[str, MessageType]]:
    module = module_of(file.name)

    def walk(messages: Iterable[DescriptorProto], outer: tuple[str, ...]) -> Iterator[tuple[str, MessageType]]:
        for message in messages:
            path = (*outer, message.name)
            yield ".".join(("", *filter(None, (file.package,)), *path)), MessageType(module, path)
            yield from walk(message.nested_type, path)

    yield from walk(file.message_type, ())


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """Maps the path of each commented element to its comment: the one before it, or else the one behind it."""
    return {
        tuple(location.path): _clean(location.leading_comments or location.trailing_comments)
        for location in file.source_code_info.location
        if location.leading_comments or location.trailing_comments
    }


def _clean(comment: str) -> str:
    lines = [line.rstrip() for line in comment.split("\n")]
    return textwrap.dedent("\n".join(lines)).strip("\n")
