"""The plugin of protoc: ``protoc-gen-pygrpc``.

protoc finds a program of this name in ``PATH`` and runs it for ``--pygrpc_out=DIR``; it writes a CodeGeneratorRequest
to the program's standard input and reads a CodeGeneratorResponse from its standard output (plugin.proto of protobuf).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import Edition, FileDescriptorProto
from google.protobuf.message import DecodeError

from pygrpc.codegen.imports import ImportStyle
from pygrpc.codegen.module_writer import write_module
from pygrpc.codegen.names import is_importable, module_of, path_of
from pygrpc.codegen.services import message_types, read_services
from pygrpc.codegen.stub_writer import write_stub

GRPC_MODULES = ("pygrpc", "grpc")
"""What generated modules can be made to import as ``grpc``."""


class ParameterError(ValueError):
    """A parameter can't be understood; the text says what is possible."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How to generate.

    Attributes:
        relative_imports: Whether generated modules import each other by relative imports.
        import_prefix: Package that holds the tree of generated modules; empty for none.
        local: Folders of .proto files, below their import path, that belong to the same tree although they aren't part
            of the run; with forward slashes.
        grpc_module: What to import as ``grpc``: one of ``GRPC_MODULES``.

    Raises:
        ParameterError: They contradict each other, or one has an impossible value.
    """

    relative_imports: bool = False
    import_prefix: str = ""
    local: tuple[str, ...] = ()
    grpc_module: str = GRPC_MODULES[0]

    def __post_init__(self) -> None:
        """Checks the values."""
        if self.relative_imports and self.import_prefix:
            raise ParameterError("relative_imports and import_prefix exclude each other.")
        if not is_importable(self.import_prefix) or self.import_prefix.startswith("."):
            raise ParameterError(f"import_prefix is a package, such as app.protos; {self.import_prefix!r} is none.")
        if self.grpc_module not in GRPC_MODULES:
            raise ParameterError(f"grpc_module is {' or '.join(GRPC_MODULES)}, not {self.grpc_module!r}.")

    def style(self, generated: Iterable[str], known: Iterable[str]) -> ImportStyle:
        """Says how modules import each other.

        Args:
            generated: The .proto files of the run.
            known: All that they import, and maybe themselves.
        """
        folders = tuple(f"{folder.strip('/')}/" for folder in self.local)
        own = {*generated, *(proto for proto in known if folders and proto.startswith(folders))}
        return ImportStyle(frozenset(map(module_of, own)), self.relative_imports, self.import_prefix)


def parse_parameters(text: str) -> Parameters:
    """Reads what follows ``--pygrpc_opt=``.

    Args:
        text: Parameters with commas between them: ``relative_imports``, ``import_prefix=PACKAGE``, ``local=FOLDER``
            (may be repeated), ``grpc_module=pygrpc`` or ``grpc_module=grpc``.

    Raises:
        ParameterError: One is unknown or has an impossible value.
    """
    relative, values, local = False, {"import_prefix": "", "grpc_module": GRPC_MODULES[0]}, []
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = item.partition("=")
        if item == "relative_imports":
            relative = True
        elif name == "local" and value:
            local.append(value)
        elif name in values and equals:
            values[name] = value
        else:
            raise ParameterError(
                f"{item!r} is no parameter of protoc-gen-pygrpc; there are relative_imports, import_prefix=PACKAGE, "
                f"local=FOLDER and grpc_module={'|'.join(GRPC_MODULES)}."
            )
    return Parameters(relative, values["import_prefix"], tuple(local), values["grpc_module"])


def service_modules(
    files: Iterable[FileDescriptorProto], generated: Iterable[str], style: ImportStyle, grpc_module: str
) -> dict[str, str]:
    """Writes the modules and type stubs for the services of some files.

    Args:
        files: The files with all that they import.
        generated: Names of those to write modules for; files without a service get none.
        style: How modules import each other.
        grpc_module: What to import as ``grpc``.

    Returns:
        The texts by the paths of the files, in a stable order.
    """
    by_name = {file.name: file for file in files}
    types = message_types(by_name.values())
    texts: dict[str, str] = {}
    for name in sorted(generated):
        if by_name[name].service:
            services = read_services(by_name[name], types)
            texts[path_of(services.module, "_grpc.py")] = write_module(services, style, grpc_module)
            texts[path_of(services.module, "_grpc.pyi")] = write_stub(services, style, grpc_module)
    return texts


def respond(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """Answers protoc.

    Args:
        request: The files and the parameters.

    Returns:
        The generated files, or an error for protoc to show.
    """
    response = CodeGeneratorResponse(
        supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
        | CodeGeneratorResponse.FEATURE_SUPPORTS_EDITIONS,
        # Nothing here depends on the syntax of a file, so all that this protobuf knows will do.
        minimum_edition=Edition.EDITION_PROTO2,
        maximum_edition=Edition.EDITION_2024,
    )
    try:
        parameters = parse_parameters(request.parameter)
    except ParameterError as error:
        response.error = str(error)
        return response
    style = parameters.style(request.file_to_generate, (file.name for file in request.proto_file))
    texts = service_modules(request.proto_file, request.file_to_generate, style, parameters.grpc_module)
    for name, text in texts.items():
        response.file.add(name=name, content=text)
    return response


def main() -> int:
    """Runs the plugin on standard input and output.

    Returns:
        The exit status: 0, also for an error that protoc is to show, or 1 if the input is no request.
    """
    if sys.stdin.isatty():
        print("protoc-gen-pygrpc is a plugin that protoc runs for --pygrpc_out=DIR.", file=sys.stderr)
        return 1
    try:
        request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    except DecodeError:
        print("protoc-gen-pygrpc: standard input holds no CodeGeneratorRequest of protoc.", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(respond(request).SerializeToString(deterministic=True))
    return 0
