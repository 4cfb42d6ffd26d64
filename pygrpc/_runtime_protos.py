"""Modules made of .proto files when they are asked for, by the protoc of grpcio-tools."""

import contextlib
import importlib
from types import ModuleType
from typing import Any

_MISSING = "Install the grpcio-tools package (1.32.0+) to use the {} function."


def protos(protobuf_path: str) -> ModuleType:
    """Makes the module with the messages of a .proto file, as protoc would write it to ``*_pb2.py``.

    Args:
        protobuf_path: The file, relative to an entry of ``sys.path``, as are all that it imports.

    Raises:
        NotImplementedError: grpcio-tools is not installed.
        ImportError: The file isn't found, or protoc refuses it.
    """
    module: ModuleType = _compile("protos", protobuf_path)
    return module


def services(protobuf_path: str) -> ModuleType:
    """Makes the module with the stubs and servicers of a .proto file, as in a ``*_pb2_grpc.py``.

    Args:
        protobuf_path: The file, relative to an entry of ``sys.path``, as are all that it imports.

    Raises:
        NotImplementedError: grpcio-tools is not installed.
        ImportError: The file isn't found, or protoc refuses it.
    """
    module: ModuleType = _compile("services", protobuf_path)
    return module


def protos_and_services(protobuf_path: str) -> tuple[ModuleType, ModuleType]:
    """Does what ``protos`` and ``services`` do, and returns both modules.

    Args:
        protobuf_path: The file, relative to an entry of ``sys.path``, as are all that it imports.

    Raises:
        NotImplementedError: grpcio-tools is not installed.
        ImportError: The file isn't found, or protoc refuses it.
    """
    modules: tuple[ModuleType, ModuleType] = _compile("protos_and_services", protobuf_path)
    return modules


def _compile(function: str, path: str) -> Any:
    from pygrpc import compat

    try:
        protoc = importlib.import_module("grpc_tools.protoc")
    except ImportError as error:
        if "grpc_tools" not in str(error):
            raise
        raise NotImplementedError(_MISSING.format(function)) from None
    # What it makes for services begins with ``import grpc``, which here means this library.
    substituted = contextlib.nullcontext() if function == "protos" else compat.substituted()
    with substituted:
        return getattr(protoc, f"_{function}")(path)
