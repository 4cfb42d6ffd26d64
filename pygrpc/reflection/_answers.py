"""What reflection answers, whichever version of the protocol and whichever API it is asked by."""

import contextlib
import sys
from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from pygrpc import StatusCode

#: Modules of pygrpc whose messages are in pools of their own, so that other copies of them can be imported too.
_WITH_OWN_POOL = (
    "pygrpc.health.v1.health_pb2",
    "pygrpc.reflection.v1.reflection_pb2",
    "pygrpc.reflection.v1alpha.reflection_pb2",
)


class Answers:
    """Answers the requests of clients, each by itself.

    Requests and responses are messages of one version. The versions differ in nothing but the name of the package, so
    that one implementation does for both.
    """

    def __init__(self, messages: Any, service_names: Iterable[str], pool: DescriptorPool | None) -> None:
        """Answers for a server.

        Args:
            messages: The module ``reflection_pb2`` of a version.
            service_names: What to list.
            pool: Where descriptions are found; None for protobuf's own, and those of pygrpc's own services.
        """
        self._messages = messages
        self._names = sorted(set(service_names))
        self._pool = None if pool is descriptor_pool.Default() else pool

    def answer(self, request: Any) -> Any:
        """Returns the ServerReflectionResponse for a ServerReflectionRequest."""
        kind = request.WhichOneof("message_request")
        field = self._error(StatusCode.INVALID_ARGUMENT) if kind is None else self._found(kind, getattr(request, kind))
        return self._messages.ServerReflectionResponse(original_request=request, **field)

    def _found(self, kind: str, question: Any) -> dict[str, Any]:
        """Returns the field of the response that answers a question, from the first pool that can."""
        for pool in self._pools():
            with contextlib.suppress(KeyError):
                field: dict[str, Any] = getattr(self, f"_{kind}")(pool, question)
                return field
        return self._error(StatusCode.NOT_FOUND)

    def _pools(self) -> list[DescriptorPool]:
        if self._pool is not None:
            return [self._pool]
        own = filter(None, map(sys.modules.get, _WITH_OWN_POOL))
        return [descriptor_pool.Default(), *(module.DESCRIPTOR.pool for module in own)]

    def _error(self, code: StatusCode) -> dict[str, Any]:
        # The text is that of grpcio-reflection; what wasn't found stands in the original request.
        number, text = code.value
        return {"error_response": self._messages.ErrorResponse(error_code=number, error_message=text)}

    def _list_services(self, _: DescriptorPool, __: str) -> dict[str, Any]:
        services = [self._messages.ServiceResponse(name=name) for name in self._names]
        return {"list_services_response": self._messages.ListServiceResponse(service=services)}

    def _file_by_filename(self, pool: DescriptorPool, name: str) -> dict[str, Any]:
        return self._files(pool.FindFileByName(name))

    def _file_containing_symbol(self, pool: DescriptorPool, symbol: str) -> dict[str, Any]:
        try:
            return self._files(pool.FindFileContainingSymbol(symbol))
        except KeyError:
            # Methods are symbols too, but protobuf's C implementation doesn't find them.
            service, _, method = symbol.rpartition(".")
            return self._files(pool.FindServiceByName(service).methods_by_name[method].containing_service.file)

    def _file_containing_extension(self, pool: DescriptorPool, request: Any) -> dict[str, Any]:
        extended = pool.FindMessageTypeByName(request.containing_type)
        # The types of protobuf don't know of this attribute.
        extension: Any = pool.FindExtensionByNumber(extended, request.extension_number)
        return self._files(extension.file)

    def _all_extension_numbers_of_type(self, pool: DescriptorPool, name: str) -> dict[str, Any]:
        extended = pool.FindMessageTypeByName(name)
        numbers = sorted(extension.number for extension in pool.FindAllExtensions(extended))
        response = self._messages.ExtensionNumberResponse(base_type_name=extended.full_name, extension_number=numbers)
        return {"all_extension_numbers_response": response}

    def _files(self, file: FileDescriptor) -> dict[str, Any]:
        """The response with a file, and behind it all that it imports, directly or not."""
        files: dict[str, FileDescriptor] = {}
        waiting = [file]
        while waiting:
            file = waiting.pop()
            if file.name not in files:
                files[file.name] = file
                waiting += reversed(file.dependencies)
        serialized = [each.serialized_pb for each in files.values()]
        return {"file_descriptor_response": self._messages.FileDescriptorResponse(file_descriptor_proto=serialized)}
