"""Runs the protocol buffer compiler, and makes modules of what it gives."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from pygrpc.codegen.imports import ImportStyle
from pygrpc.codegen.names import module_of, path_of
from pygrpc.codegen.plugin import service_modules
from pygrpc.codegen.rewriting import rewrite, rewrite_stub


class CodegenError(Exception):
    """The modules could not be generated; the text says what to correct."""


class ProtocError(CodegenError):
    """protoc refused the protos.

    Attributes:
        output: What it said, which names the files, lines and columns.
    """

    def __init__(self, output: str) -> None:
        """Takes what protoc said."""
        super().__init__(f"protoc refused the protos: {output.strip()}")
        self.output = output


@dataclass(frozen=True, slots=True)
class Compilation:
    """What protoc made of some .proto files.

    Attributes:
        files: The files with all that they import.
        modules: The Python text of the messages of each file that was asked for, by the file's name.
        stubs: The type stubs that go with them.
        warnings: What protoc said.
    """

    files: tuple[FileDescriptorProto, ...]
    modules: dict[str, str]
    stubs: dict[str, str]
    warnings: str

    def file(self, proto: str) -> FileDescriptorProto:
        """Returns the descriptor of a file, by its name."""
        return next(file for file in self.files if file.name == proto)

    def texts(self, protos: Iterable[str], style: ImportStyle, grpc_module: str) -> Iterator[tuple[str, str]]:
        """Yields the modules and type stubs, for messages and for services.

        Args:
            protos: Names of the files to write for, which are keys of ``modules``.
            style: How their modules import others.
            grpc_module: What to import as ``grpc``.

        Yields:
            Path of the module below the output folder, and its text.
        """
        for proto in sorted(protos):
            module = module_of(proto)
            yield path_of(module), rewrite(self.modules[proto], proto, style)
            yield path_of(module, ".pyi"), rewrite_stub(self.stubs[proto], proto, style)
            yield from service_modules(self.files, [proto], style, grpc_module).items()


def compile_protos(protos: Sequence[str], proto_paths: Sequence[Path]) -> Compilation:
    """Runs protoc.

    Args:
        protos: The .proto files, as protoc takes them: paths below one of ``proto_paths``, or relative to it.
        proto_paths: Where to look for imports. The protos of google.protobuf, and those of googleapis-common-protos if
            that is installed, are found anyway.

    Returns:
        The texts and descriptors.

    Raises:
        CodegenError: protoc is not installed, or a file has a name that Python can't import.
        ProtocError: protoc refused the protos.
    """
    with tempfile.TemporaryDirectory(prefix="pygrpc-codegen-") as folder:
        out = Path(folder)
        outputs = [f"--python_out={out}", f"--pyi_out={out}", f"--descriptor_set_out={out / 'set'}"]
        warnings = _run_protoc(protos, proto_paths, [*outputs, "--include_source_info"])
        return _read(out, warnings)


def describe(protos: Sequence[str], proto_paths: Sequence[Path]) -> list[FileDescriptorProto]:
    """Runs protoc for the descriptors alone: the files may have names that Python can't import.

    Args:
        protos: The .proto files, as ``compile_protos`` takes them.
        proto_paths: Where to look for imports, as ``compile_protos`` does.

    Returns:
        The files with all that they import.

    Raises:
        CodegenError: protoc is not installed.
        ProtocError: protoc refused the protos.
    """
    with tempfile.TemporaryDirectory(prefix="pygrpc-codegen-") as folder:
        path = Path(folder, "set")
        _run_protoc(protos, proto_paths, [f"--descriptor_set_out={path}"])
        return list(FileDescriptorSet.FromString(path.read_bytes()).file)


def _run_protoc(protos: Sequence[str], proto_paths: Sequence[Path], outputs: Sequence[str]) -> str:
    """Runs protoc for some outputs, and returns its warnings."""
    if importlib.util.find_spec("grpc_tools") is None:
        raise CodegenError("grpcio-tools is not installed: run pip install 'pygrpc[codegen]'.")
    command = [sys.executable, "-m", "grpc_tools.protoc"]
    command += [f"-I{path}" for path in (*proto_paths, *_well_known_folders())]
    result = subprocess.run(
        [*command, *outputs, "--include_imports", *protos],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if result.returncode != 0:
        raise ProtocError(result.stderr or result.stdout)
    return result.stderr


def _read(out: Path, warnings: str) -> Compilation:
    files = tuple(FileDescriptorSet.FromString((out / "set").read_bytes()).file)
    modules, stubs = {}, {}
    for file in files:
        module = module_of(file.name)
        path = out / path_of(module)
        # The set has imports as well; protoc writes modules for those files only that the command names.
        if path.exists():
            _check_name(file.name)
            modules[file.name] = path.read_text(encoding="utf-8")
            stubs[file.name] = path.with_suffix(".pyi").read_text(encoding="utf-8")
    return Compilation(files, modules, stubs, warnings)


def _check_name(proto: str) -> None:
    """Refuses a path that gives a module of no possible name: protoc would write imports of it that don't parse."""
    for part in module_of(proto).split("."):
        if not part.isidentifier():
            raise CodegenError(f"{proto} has {part!r} in its path, which is no Python name: rename the file or folder.")


def _well_known_folders() -> list[Path]:
    """Finds the folders that hold google/rpc/*.proto, if googleapis-common-protos is installed.

    The protos of google.protobuf come with grpcio-tools, which adds them to the import path itself.
    """
    try:
        spec = importlib.util.find_spec("google.rpc")
    except ModuleNotFoundError:
        return []
    if spec is None:
        return []
    return [Path(location).parent.parent for location in spec.submodule_search_locations or ()]
