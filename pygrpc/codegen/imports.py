"""How generated modules import each other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pygrpc.codegen.names import is_importable, relative_package


@dataclass(frozen=True, slots=True)
class ImportStyle:
    """Where generated modules look for each other; by default where protoc does, below a folder in ``sys.path``.

    Modules that are not ``own``, such as those of ``google.protobuf``, are imported by their absolute name always.

    Attributes:
        own: Dotted names of the message modules that live in the same tree of packages.
        relative: Whether imports among them are relative, so that they work from any package.
        prefix: Package that holds the tree; empty for none.
    """

    own: Collection[str] = ()
    relative: bool = False
    prefix: str = ""

    @property
    def moves(self) -> bool:
        """Whether modules are imported under another name than protoc gives them."""
        return self.relative or bool(self.prefix)

    def package(self, module: str, importer: str) -> str:
        """Gives the package to import a module from.

        Args:
            module: Dotted name of the module below the output folder.
            importer: Dotted package below the output folder, of the module that imports it.

        Returns:
            What stands between ``from`` and ``import``; empty if a plain ``import`` does.
        """
        package = module.rpartition(".")[0]
        if module not in self.own:
            return package
        if self.relative:
            return relative_package(package, importer)
        return ".".join(filter(None, (self.prefix, package)))

    def statement(self, module: str, importer: str, alias: str) -> str | None:
        """Spells the import of a module.

        Args:
            module: Dotted name of the module below the output folder.
            importer: Dotted package below the output folder, of the module that imports it.
            alias: The name that the importing module uses.

        Returns:
            The statement; None if none can name the module, as one of its packages is called ``in`` or the like.
        """
        package, name = self.package(module, importer), module.rpartition(".")[2]
        if not is_importable(package) or not is_importable(name):
            return None
        return f"from {package} import {name} as {alias}" if package else f"import {name} as {alias}"

    def call(self, module: str, importer: str) -> str:
        """Spells the import of any module, whatever its name, as a call of importlib."""
        package, name = self.package(module, importer), module.rpartition(".")[2]
        if package.startswith("."):
            dot = "" if package.endswith(".") else "."
            return f"importlib.import_module({package + dot + name!r}, __package__)"
        return f"importlib.import_module({'.'.join(filter(None, (package, name)))!r})"

    def qualified(self, module: str, importer: str) -> str:
        """Gives the full name of a module, as in ``from name import *``."""
        package, name = self.package(module, importer), module.rpartition(".")[2]
        return f"{package}{name}" if not package or package.endswith(".") else f"{package}.{name}"
