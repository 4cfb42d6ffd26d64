"""The client of reflection: a database of descriptions that asks a server for what it doesn't know."""

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor_database import DescriptorDatabase
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from pygrpc import StatusCode


class ReflectionDatabase(DescriptorDatabase):
    """Descriptions of a server's services and messages, which are asked for when they are needed, and kept.

    It is what ``google.protobuf.descriptor_pool.DescriptorPool`` takes to find messages in.
    """

    def __init__(self, messages: Any, method: Callable[..., Any]) -> None:
        """Asks nothing yet.

        Args:
            messages: The module ``reflection_pb2`` of a version.
            method: Calls ServerReflectionInfo of that version; of a stub of the sync API.
        """
        super().__init__()
        self._messages = messages
        self._method = method
        self._names: set[str] = set()
        self._extension_numbers: dict[str, list[int]] = {}
        self._extensions: dict[tuple[str, int], FileDescriptorProto] = {}

    def get_services(self) -> list[str]:
        """Returns the full names of the services that the server tells of.

        Raises:
            pygrpc.RpcError: The call failed: with UNIMPLEMENTED if the server has no reflection of this version.
            RuntimeError: The server answered with an error.
        """
        response = self._ask(list_services="").list_services_response
        return [service.name for service in response.service]

    def FindFileByName(self, name: str) -> FileDescriptorProto:
        """Returns a file by its name, as others import it.

        Raises:
            KeyError: The server knows no such file.
            pygrpc.RpcError: The call failed.
            RuntimeError: The server answered with another error.
        """
        try:
            return super().FindFileByName(name)
        except KeyError:
            self._ask_for_files(file_by_filename=name)
            return super().FindFileByName(name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptorProto:
        """Returns the file that defines a symbol, by its full name.

        Raises:
            KeyError: The server knows no such symbol.
            pygrpc.RpcError: The call failed.
            RuntimeError: The server answered with another error.
        """
        try:
            return super().FindFileContainingSymbol(symbol)
        except KeyError:
            return self._ask_for_files(file_containing_symbol=symbol)

    def FindFileContainingExtension(self, extendee_name: str, extension_number: int) -> FileDescriptorProto:
        """Returns the file that defines an extension of a message, by its number.

        Raises:
            KeyError: The server knows no such extension.
            pygrpc.RpcError: The call failed.
            RuntimeError: The server answered with another error.
        """
        key = (extendee_name, extension_number)
        if key not in self._extensions:
            request = self._messages.ExtensionRequest(containing_type=extendee_name, extension_number=extension_number)
            self._extensions[key] = self._ask_for_files(file_containing_extension=request)
        return self._extensions[key]

    def FindAllExtensionNumbers(self, extendee_name: str) -> list[int]:
        """Returns the numbers of all extensions of a message.

        Raises:
            KeyError: The server knows no such message.
            pygrpc.RpcError: The call failed.
            RuntimeError: The server answered with another error.
        """
        if extendee_name not in self._extension_numbers:
            response = self._ask(all_extension_numbers_of_type=extendee_name).all_extension_numbers_response
            self._extension_numbers[extendee_name] = list(response.extension_number)
        return self._extension_numbers[extendee_name]

    def _ask_for_files(self, **request: Any) -> FileDescriptorProto:
        """Asks for a file, keeps it and all that come with it, and returns it."""
        response = self._ask(**request).file_descriptor_response
        files = [FileDescriptorProto.FromString(serialized) for serialized in response.file_descriptor_proto]
        if not files:
            raise RuntimeError(f"the server answered {request} without a file")
        for file in files:
            if file.name not in self._names:
                self._names.add(file.name)
                self.Add(file)
        return files[0]

    def _ask(self, **request: Any) -> Any:
        """Asks one question, by a call of its own."""
        call = self._method(iter([self._messages.ServerReflectionRequest(**request)]))
        response = next(call, None)
        if response is None:
            raise RuntimeError(f"the server ended the call without an answer to {request}")
        if response.WhichOneof("message_response") == "error_response":
            error = response.error_response
            if error.error_code == StatusCode.NOT_FOUND.value[0]:
                raise KeyError(next(iter(request.values())))
            raise RuntimeError(f"the server answered {request} with error {error.error_code}: {error.error_message}")
        return response
