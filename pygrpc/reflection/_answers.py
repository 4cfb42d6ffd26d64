"""What reflection answers, whichever version of the protocol and whichever API it is asked by."""

from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

from pygrpc import StatusCode


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
            pool: Where descriptions are found; None for protobuf's own.
        """
        self._messages = messages
        self._names = sorted(set(service_names))
        self._pool = descriptor_pool.Default() if pool is None else pool

    def answer(self, request: Any) -> Any:
        """Returns the ServerReflectionResponse for a ServerReflectionRequest."""
        kind = request.WhichOneof("message_request")
        try:
            if kind is None:
                field = self._error(StatusCode.INVALID_ARGUMENT)
            else:
                field = getattr(self, f"_{kind}")(getattr(request, kind))
        except KeyError:
            field = self._error(StatusCode.NOT_FOUND)
        return self._messages.ServerReflectionResponse(original_request=request, **field)

    def _error(self, code: StatusCode) -> dict[str, Any]:
        # The text is that of grpcio-reflection; what wasn't found stands in the original request.
        number, text = code.value
        return {"error_response": self._messages.ErrorResponse(error_code=number, error_message=text)}

    def _list_services(self, _: str) -> dict[str, Any]:
        services = [self._messages.ServiceResponse(name=name) for name in self._names]
        return {"list_services_response": self._messages.ListServiceResponse(service=services)}

    def _file_by_filename(self, name: str) -> dict[str, Any]:
        return self._files(self._pool.FindFileByName(name))

    def _file_containing_symbol(self, symbol: str) -> dict[str, Any]:
        try:
            return self._files(self._pool.FindFileContainingSymbol(symbol))
        except KeyError:
            # Methods are symbols too, but protobuf's C implementation doesn't find them.
            service, _, method = symbol.rpartition(".")
            return self._files(self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file)

    def _file_containing_extension(self, request: Any) -> dict[str, Any]:
        extended = self._pool.FindMessageTypeByName(request.containing_type)
        # The types of protobuf don't know of this attribute.
        extension: Any = self._pool.FindExtensionByNumber(extended, request.extension_number)
        return self._files(extension.file)

    def _all_extension_numbers_of_type(self, name: str) -> dict[str, Any]:
        extended = self._pool.FindMessageTypeByName(name)
        numbers = sorted(extension.number for extension in self._pool.FindAllExtensions(extended))
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
