"""Names: of the modules that protoc makes, of the packages between them, and of what a proto calls like Python does."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable


def module_of(proto: str) -> str:
    """Names the message module that protoc makes of a .proto file.

    Args:
        proto: Path below the folder of protos, with forward slashes.

    Returns:
        The dotted name below the output folder, for example ``user.v1.user_pb2`` for ``user/v1/user.proto``. A dot in
        the path separates packages as a slash does, and a dash becomes an underscore.
    """
    return proto.removesuffix(".proto").replace("-", "_").replace("/", ".") + "_pb2"


def path_of(module: str, suffix: str = ".py") -> str:
    """Gives the path of a module below the output folder, with forward slashes."""
    return module.replace(".", "/") + suffix


def relative_package(package: str, importer: str) -> str:
    """Spells ``package`` as seen from a module in the package ``importer``, with the fewest dots.

    Args:
        package: Dotted package below the output folder, or an empty string for that folder itself.
        importer: Dotted package that holds the importing module, in the same way.

    Returns:
        What stands between ``from`` and ``import``: one dot is the importer's own package.
    """
    target, source = _parts(package), _parts(importer)
    common = 0
    while common < min(len(target), len(source)) and target[common] == source[common]:
        common += 1
    return "." * (len(source) - common + 1) + ".".join(target[common:])


def is_name(text: str) -> bool:
    """Tells whether Python takes the text as a name: an identifier that is no keyword, such as ``async``."""
    return text.isidentifier() and not keyword.iskeyword(text)


def is_importable(module: str) -> bool:
    """Tells whether an import statement can name a module; leading dots may make it relative."""
    return all(is_name(part) for part in _parts(module.lstrip(".")))


def alias_of(module: str) -> str:
    """Makes one name of a dotted one, as protoc does; two modules never get the same."""
    alias = module.replace("_", "__").replace(".", "_dot_")
    alias = re.sub(r"\W", lambda match: f"_{ord(match[0]):x}_", alias)
    return alias if alias.isidentifier() else f"_{alias}"


def attribute(owner: str, path: Iterable[str]) -> str:
    """Spells the access to an attribute of an attribute ..., also where one of them is a keyword."""
    for name in path:
        # Within a class, Python would mangle a name that starts with two underscores.
        plain = is_name(name) and not name.startswith("__")
        owner = f"{owner}.{name}" if plain else f"getattr({owner}, {name!r})"
    return owner


class Names:
    """Hands out names that differ from each other, from Python's keywords and from those that are taken."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """Takes names that nobody else is to get."""
        self._taken = set(taken)

    def claim_all(self, names: Iterable[str]) -> list[str]:
        """Takes several names, of which those that can stay as they are come first.

        Args:
            names: The wishes, which differ from each other.

        Returns:
            For each the name itself, or what ``claim`` makes of it.
        """
        wishes = list(names)
        kept = {name for name in wishes if self._is_free(name)}
        self._taken |= kept
        return [name if name in kept else self.claim(name) for name in wishes]

    def claim(self, name: str) -> str:
        """Takes a name.

        Args:
            name: The wish.

        Returns:
            The name itself if it is free, or else with an underscore behind it (PEP 8), or several.
        """
        while not self._is_free(name):
            # Python would mangle two underscores in front within a class, or take the name for one of its own.
            name = f"rpc{name}" if name.startswith("__") else f"{name}_"
        self._taken.add(name)
        return name

    def _is_free(self, name: str) -> bool:
        return name not in self._taken and not keyword.iskeyword(name) and not name.startswith("__")


def _parts(package: str) -> list[str]:
    return package.split(".") if package else []
