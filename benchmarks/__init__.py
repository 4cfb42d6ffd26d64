"""Benchmarks of pygrpc side by side with grpcio, grpc.aio and grpclib; see docs/benchmarks.md."""
