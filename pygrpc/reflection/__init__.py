"""What a server says of its services and their messages, with the names of grpcio-reflection.

``enable_server_reflection`` of this package offers both versions of the service. The packages ``v1`` and ``v1alpha``
have one each, and a client.
"""

from pygrpc.reflection._both import enable_server_reflection

__all__ = ["enable_server_reflection"]
