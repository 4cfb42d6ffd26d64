"""The health of a server: the service ``grpc.health.v1.Health``, with the names of grpcio-health-checking."""
