"""Regenerates the message and stub modules of a project from its .proto files.

``python -m pygrpc.codegen`` runs the protocol buffer compiler of grpcio-tools (the ``[codegen]`` extra) and rewrites
what it prints so that the modules import pygrpc, and each other by relative imports: they work from any package, and
grpcio is not needed to import them. ``python -m pygrpc.codegen --check`` writes nothing and says which files are out of
date.
"""

from pygrpc.codegen.generator import CodegenError, Plan, Target, check, generate, read_plan

__all__ = ["CodegenError", "Plan", "Target", "check", "generate", "read_plan"]
