"""The command ``pygrpc generate``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pygrpc.codegen.compiler import CodegenError, ProtocError, compile_protos
from pygrpc.codegen.generator import PACKAGE_TEXT, write_if_changed
from pygrpc.codegen.plugin import GRPC_MODULES, ParameterError, Parameters


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: What follows ``pygrpc generate``; ``sys.argv`` if None.

    Returns:
        The exit status: 0 if all went well, 1 if protoc refused the protos or a file could not be written.

    Raises:
        SystemExit: With status 2, the arguments make no sense.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        parameters = Parameters(
            options.relative_imports, options.import_prefix, tuple(options.local), options.grpc_module
        )
    except ParameterError as error:
        parser.error(str(error))
    try:
        written, warnings = generate_files(options.protos, options.proto_path or [Path()], options.out, parameters)
    except ProtocError as error:
        sys.stderr.write(error.output)
        return 1
    except (CodegenError, OSError) as error:
        print(f"pygrpc generate: {error}", file=sys.stderr)
        return 1
    sys.stderr.write(warnings)
    for path in written:
        print(f"wrote {path}")
    if not written:
        print("All generated modules are up to date.")
    return 0


def generate_files(
    protos: Sequence[str], proto_paths: Sequence[Path], out: Path, parameters: Parameters
) -> tuple[list[Path], str]:
    """Writes the modules of some .proto files.

    Where modules import each other by another name than protoc's, they live in a package: a folder that has to be made
    becomes one. Folders that exist stay what they are, since a project may have its reasons.

    Args:
        protos: The .proto files, as protoc takes them.
        proto_paths: Where to look for them and for what they import.
        out: Folder that receives the tree of modules.
        parameters: How to generate.

    Returns:
        The files that were written, sorted, without those that had the right text already; and protoc's warnings.

    Raises:
        CodegenError: protoc is missing or refused the protos.
        OSError: A file could not be written.
    """
    compilation = compile_protos(protos, proto_paths)
    style = parameters.style(compilation.modules, (file.name for file in compilation.files))
    files = {out / path: text for path, text in compilation.texts(compilation.modules, style, parameters.grpc_module)}
    if style.moves:
        files |= {folder / "__init__.py": PACKAGE_TEXT for path in files for folder in _missing_folders(path, out)}
    written = [path for path, text in sorted(files.items()) if write_if_changed(path, text)]
    return written, compilation.warnings


def _missing_folders(path: Path, out: Path) -> list[Path]:
    """Lists the folders from that of a file up to the output folder that don't exist."""
    folders = [folder for folder in path.parents if folder.is_relative_to(out)]
    return [folder for folder in folders if not folder.exists()]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pygrpc generate",
        description="Generates message modules, stubs and servicers, all with type stubs, from .proto files.",
    )
    parser.add_argument("protos", nargs="+", metavar="PROTO", help="a .proto file")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder that receives the modules (default: .)"
    )
    parser.add_argument(
        "-I",
        "--proto-path",
        type=Path,
        action="append",
        metavar="DIR",
        help="where to look for .proto files and what they import; may be repeated (default: .)",
    )
    parser.add_argument(
        "--relative-imports",
        action="store_true",
        help="the modules import each other by relative imports, so that they work from any package",
    )
    parser.add_argument(
        "--import-prefix",
        default="",
        metavar="PACKAGE",
        help="the modules import each other from this package, which is the one that --out holds",
    )
    parser.add_argument(
        "--local",
        action="append",
        default=[],
        metavar="FOLDER",
        help="protos below this folder belong to the same package although they are not named; may be repeated",
    )
    parser.add_argument(
        "--grpc-module",
        choices=GRPC_MODULES,
        default=GRPC_MODULES[0],
        help="the library that the modules are for (default: %(default)s)",
    )
    return parser
