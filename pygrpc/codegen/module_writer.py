"""Writes ``<name>_pb2_grpc.py``: what runs. It has the names and the behaviour of what grpcio-tools writes."""

from __future__ import annotations

from pygrpc.codegen.imports import ImportStyle
from pygrpc.codegen.names import alias_of, attribute
from pygrpc.codegen.services import MessageType, Method, Service, ServiceFile
from pygrpc.codegen.texts import docstring, module_head

_CONSTRUCTOR = '''
    def __init__(self, channel):
        """Makes the callables.

        Args:
            channel: A channel of either API.
        """
'''
_UNIMPLEMENTED = """\
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details('Method not implemented!')
        raise NotImplementedError('Method not implemented!')
"""
_SIMPLE_OPTIONS = (
    "options=()",
    "channel_credentials=None",
    "call_credentials=None",
    "insecure=False",
    "compression=None",
    "wait_for_ready=None",
    "timeout=None",
    "metadata=None",
)
# The order in which the functions of the experimental API take them is another.
_SIMPLE_ARGUMENTS = (
    "options",
    "channel_credentials",
    "insecure",
    "call_credentials",
    "compression",
    "wait_for_ready",
    "timeout",
    "metadata",
    "_registered_method=True",
)


def write_module(file: ServiceFile, style: ImportStyle, grpc_module: str) -> str:
    """Writes the module with the stubs and servicers of a file.

    Args:
        file: The services.
        style: How to import the messages.
        grpc_module: What to import as ``grpc``.

    Returns:
        The text of the module.
    """
    blocks = [module_head(file.proto) + _imports(file, style, grpc_module)]
    for service in file.services:
        blocks += [_stub(service), _servicer(service), _registration(service), _simple(service)]
    return "\n\n".join(blocks)


def _imports(file: ServiceFile, style: ImportStyle, grpc_module: str) -> str:
    lines = ["import grpc" if grpc_module == "grpc" else f"import {grpc_module} as grpc", ""]
    calls = []
    for module in file.message_modules:
        statement = style.statement(module, file.package, alias_of(module))
        if statement is None:
            calls.append(f"{alias_of(module)} = {style.call(module, file.package)}")
        else:
            lines.append(statement)
    if calls:
        lines = ["import importlib", "", *lines, *([""] if lines[-1] else []), *calls]
    return "\n" + "".join(f"{line}\n" for line in lines)


def _message(message: MessageType) -> str:
    return attribute(alias_of(message.module), message.path)


def _stub(service: Service) -> str:
    text = f"class {service.name}Stub:\n"
    text += docstring(service.comment, f"Calls the methods of the service {service.full_name}.", "    ")
    text += _CONSTRUCTOR
    for method in service.methods:
        text += (
            f"        self.{method.attribute} = channel.{method.arity}(\n"
            f"            {_path(service, method)},\n"
            f"            request_serializer={_message(method.request)}.SerializeToString,\n"
            f"            response_deserializer={_message(method.response)}.FromString,\n"
            "            _registered_method=True,\n"
            "        )\n"
        )
    text += f"\n\n# What type checkers take for the stub on a channel of the asyncio API.\n{service.async_stub} = "
    return text + f"{service.name}Stub\n"


def _servicer(service: Service) -> str:
    text = f"class {service.name}Servicer:\n"
    text += docstring(service.comment, f"Serves the methods of the service {service.full_name}.", "    ")
    for method in service.methods:
        text += f"\n    def {method.attribute}(self, {request_parameter(method)}, context):\n"
        text += docstring(method.comment, f"Serves {method.name}.", " " * 8) + _UNIMPLEMENTED
    return text


def _registration(service: Service) -> str:
    text = f"def add_{service.name}Servicer_to_server(servicer, server):\n"
    text += docstring("", f"Makes a server serve {service.full_name}.", "    ")
    text += "    rpc_method_handlers = {\n"
    for method in service.methods:
        text += (
            f"        '{method.name}': grpc.{method.arity}_rpc_method_handler(\n"
            f"            servicer.{method.attribute},\n"
            f"            request_deserializer={_message(method.request)}.FromString,\n"
            f"            response_serializer={_message(method.response)}.SerializeToString,\n"
            "        ),\n"
        )
    return text + (
        "    }\n"
        f"    handler = grpc.method_handlers_generic_handler('{service.full_name}', rpc_method_handlers)\n"
        "    server.add_generic_rpc_handlers((handler,))\n"
        f"    server.add_registered_method_handlers('{service.full_name}', rpc_method_handlers)\n"
    )


def _simple(service: Service) -> str:
    text = "# This class is part of an experimental API.\n"
    text += f"class {service.simple}:\n"
    text += docstring(service.comment, f"Calls the methods of {service.full_name} without a stub.", "    ")
    # A method called staticmethod hides the decorator from those behind it.
    for method in sorted(service.methods, key=lambda method: method.attribute == "staticmethod"):
        request = request_parameter(method)
        parameters = ", ".join((request, "target", *_SIMPLE_OPTIONS))
        arguments = ", ".join(_SIMPLE_ARGUMENTS)
        text += f"\n    @staticmethod\n    def {method.attribute}({parameters}):\n"
        text += docstring(method.comment, f"Calls {method.name}.", " " * 8)
        text += (
            f"        return grpc.experimental.{method.arity}(\n"
            f"            {request}, target, {_path(service, method)},\n"
            f"            {_message(method.request)}.SerializeToString,\n"
            f"            {_message(method.response)}.FromString,\n"
            f"            {arguments})\n"
        )
    return text


def _path(service: Service, method: Method) -> str:
    return f"'/{service.full_name}/{method.name}'"


def request_parameter(method: Method) -> str:
    """Names the parameter for the request, or for the iterator of requests."""
    return "request_iterator" if method.request_streaming else "request"
