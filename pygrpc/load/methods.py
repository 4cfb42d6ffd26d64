"""Finds the method that a load test calls: by reflection, in a descriptor set or in .proto files."""

from __future__ import annotations

import contextlib
import difflib
import importlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

import pygrpc
from pygrpc.load.errors import LoadError
from pygrpc.load.requests import described_by, pool_of


class Contract(NamedTuple):
    """What is known of the services of a server.

    Attributes:
        pool: Where their descriptions are found.
        services: Their full names.
    """

    pool: DescriptorPool
    services: list[str]


def contract_of_set(path: Path) -> Contract:
    """Reads a descriptor set: what ``protoc --include_imports --descriptor_set_out`` writes.

    Raises:
        LoadError: The file is none, or an import is missing in it.
        OSError: The file can't be read.
    """
    try:
        files = FileDescriptorSet.FromString(path.read_bytes()).file
    except DecodeError:
        raise LoadError(f"{path} is no descriptor set: make it with protoc --descriptor_set_out") from None
    return _contract_of(files, str(path))


def contract_of_protos(protos: Sequence[str], proto_paths: Sequence[Path]) -> Contract:
    """Compiles .proto files.

    Args:
        protos: The files, as protoc takes them.
        proto_paths: Where to look for them and for what they import.

    Raises:
        LoadError: protoc is not installed, or refused the files.
    """
    from pygrpc.codegen import CodegenError, describe

    try:
        files = describe(protos, proto_paths)
    except CodegenError as error:
        raise LoadError(" ".join(str(error).split())) from None
    return _contract_of(files, "the .proto files")


def _contract_of(files: Iterable[FileDescriptorProto], source: str) -> Contract:
    known = {file.name: file for file in files}
    imports = [(file.name, name) for file in known.values() for name in file.dependency]
    for importer, name in imports:
        if name not in known:
            # Sets are often made without the files of google.protobuf, which everybody has.
            known |= {file.name: file for file in _own_files(name, importer, source)}
    services = [f"{file.package}.{each.name}".lstrip(".") for file in known.values() for each in file.service]
    return Contract(pool_of(known.values()), services)


def _own_files(name: str, importer: str, source: str) -> list[FileDescriptorProto]:
    if name.startswith("google/protobuf/"):
        # Importing the module of a file is what makes it known.
        with contextlib.suppress(ImportError):
            importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    try:
        return described_by([descriptor_pool.Default().FindFileByName(name)])
    except KeyError:
        raise LoadError(
            f"{importer} imports {name}, which {source} lacks: make the set with protoc --include_imports"
        ) from None


class _WithDeadline(pygrpc.StreamStreamClientInterceptor):
    """Gives the calls of reflection a deadline, and the metadata that the server may ask for."""

    def __init__(self, timeout: float, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        self._added = {"timeout": timeout, "metadata": metadata}

    def intercept_stream_stream(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        return continuation(details._replace(**self._added), requests)


def contract_by_reflection(
    channel: pygrpc.Channel, target: str, *, timeout: float, metadata: Sequence[tuple[str, str | bytes]] = ()
) -> Contract:
    """Asks a server for its services, by reflection v1 or, if it doesn't have that, v1alpha.

    Args:
        channel: A channel of the sync API to the server.
        target: What to call the server in errors.
        timeout: Seconds that an answer may take.
        metadata: What the calls send besides.

    Returns:
        The services; the pool asks the server for descriptions when they are needed.

    Raises:
        LoadError: The server can't be reached, has no reflection, or refused to answer.
    """
    try:
        # The generated modules of reflection refuse a protobuf that is older than they are.
        from pygrpc.reflection.v1 import proto_reflection_descriptor_database as v1
        from pygrpc.reflection.v1alpha import proto_reflection_descriptor_database as v1alpha
    except Exception as error:
        raise LoadError(f"reflection needs pip install 'pygrpc[reflection]': {error}") from None
    asking = pygrpc.intercept_channel(channel, _WithDeadline(timeout, metadata))
    for version in (v1, v1alpha):
        database = version.ProtoReflectionDescriptorDatabase(asking)
        try:
            return Contract(DescriptorPool(database), database.get_services())
        except pygrpc.RpcError as error:
            call: Any = error
            if call.code() is not pygrpc.StatusCode.UNIMPLEMENTED:
                raise refused(target, call) from None
        except RuntimeError as error:
            raise LoadError(f"reflection of {target} failed: {error}") from None
    raise LoadError(
        f"{target} has no server reflection: name the contract with --descriptor-set or --proto, or turn reflection on"
    )


def refused(target: str, error: Any) -> LoadError:
    """Returns what to say of a call of reflection that failed."""
    if error.code() is pygrpc.StatusCode.UNAVAILABLE:
        return LoadError(f"{target} can't be reached: {error.details()}")
    if error.code() is pygrpc.StatusCode.DEADLINE_EXCEEDED:
        return LoadError(f"{target} did not answer in time")
    return LoadError(f"reflection of {target} failed with {error.code().name}: {error.details()}")


def find_method(contract: Contract, name: str) -> MethodDescriptor:
    """Finds a method.

    Args:
        contract: Where to look.
        name: ``package.Service/Method`` or ``package.Service.Method``, with or without a slash in front.

    Raises:
        LoadError: There is none of this name; the error names the one that is nearest.
    """
    service, _, method = name.removeprefix("/").replace("/", ".").rpartition(".")
    try:
        return contract.pool.FindServiceByName(service).methods_by_name[method]
    except KeyError:
        pass
    known = [_path(found) for each in contract.services for found in _methods(contract.pool, each)]
    near = difflib.get_close_matches(f"{service}/{method}", known, n=1, cutoff=0.5)
    if near:
        raise LoadError(f"there is no method {name}: did you mean {near[0]}?")
    raise LoadError(f"there is no method {name}: there are {', '.join(sorted(known)) or 'none at all'}")


def _path(method: MethodDescriptor) -> str:
    return f"{method.containing_service.full_name}/{method.name}"


def _methods(pool: DescriptorPool, service: str) -> Sequence[MethodDescriptor]:
    try:
        return pool.FindServiceByName(service).methods
    except KeyError:
        # The server names a service that it can't describe.
        return ()
