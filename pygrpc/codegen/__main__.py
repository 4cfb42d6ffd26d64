"""The command line of pygrpc.codegen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pygrpc.codegen.compiler import CodegenError
from pygrpc.codegen.generator import Plan, Target, check, generate, read_plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: What follows the program's name; ``sys.argv`` if None.

    Returns:
        The exit status: 0 when all is up to date, 1 when ``--check`` found stale files or generation failed.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if (options.protos is None) != (options.out is None):
        parser.error("--protos and --out go together")
    try:
        if options.protos is not None:
            plan = Plan(options.protos, (Target("", options.out),))
        else:
            plan = read_plan(options.root)
        return _check(plan) if options.check else _generate(plan)
    except CodegenError as error:
        print(f"pygrpc.codegen: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pygrpc.codegen",
        description="Generates message and stub modules from .proto files. Without --protos and --out, the table "
        "[tool.pygrpc.codegen] of pyproject.toml says where they are and where the modules go.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a generated file is out of date")
    parser.add_argument(
        "--root", type=Path, default=Path(), metavar="DIR", help="folder of pyproject.toml (default: .)"
    )
    parser.add_argument("--protos", type=Path, metavar="DIR", help="folder of .proto files, and their import path")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder in a package that receives the modules")
    return parser


def _generate(plan: Plan) -> int:
    written = generate(plan)
    for path in written:
        print(f"wrote {path}")
    if not written:
        print("All generated modules are up to date.")
    return 0


def _check(plan: Plan) -> int:
    problems = check(plan)
    for problem in problems:
        print(problem)
    if problems:
        print("Run python -m pygrpc.codegen, with the pinned version of grpcio-tools, and commit the result.")
        return 1
    print("All generated modules are up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
