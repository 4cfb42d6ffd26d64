"""Version 1 of the health service: the modules ``health``, ``health_pb2`` and ``health_pb2_grpc``."""
