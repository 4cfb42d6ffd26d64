"""Both versions of the reflection service by one call."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool

from pygrpc.reflection.v1 import reflection as v1
from pygrpc.reflection.v1alpha import reflection as v1alpha


def enable_server_reflection(service_names: Iterable[str], server: Any, pool: DescriptorPool | None = None) -> None:
    """Lets clients ask a server what it offers, in both versions of the protocol.

    Args:
        service_names: Full names of the services to tell of, such as ``user.v1.UserService``. Those of reflection
            itself are added.
        server: A server of either API, which has not been started.
        pool: Where descriptions are found; None for protobuf's own, which has all generated modules that were imported.
    """
    names = {*service_names, v1.SERVICE_NAME, v1alpha.SERVICE_NAME}
    v1.enable_server_reflection(names, server, pool)
    v1alpha.enable_server_reflection(names, server, pool)
