"""Generates message modules, stubs and servicers from .proto files.

``protoc-gen-pygrpc`` is a plugin of protoc that writes the modules for services. ``pygrpc generate`` runs protoc, which
comes with grpcio-tools (the ``[codegen]`` extra), and writes all modules of some .proto files.
``python -m pygrpc.codegen`` does so for a whole project, as its pyproject.toml says; with ``--check`` it writes nothing
and says which files are out of date. docs/codegen.md has more.
"""

from pygrpc.codegen.command import generate_files
from pygrpc.codegen.compiler import CodegenError, ProtocError, describe
from pygrpc.codegen.generator import Plan, Target, check, generate, read_plan
from pygrpc.codegen.plugin import ParameterError, Parameters, respond

__all__ = [
    "CodegenError",
    "ParameterError",
    "Parameters",
    "Plan",
    "ProtocError",
    "Target",
    "check",
    "describe",
    "generate",
    "generate_files",
    "read_plan",
    "respond",
]
