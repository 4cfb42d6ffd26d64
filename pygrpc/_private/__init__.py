"""What stands for the private modules of ``grpc``, one module for each, with those of its names that programs use.

docs/compat.md lists them. Nothing else of pygrpc imports these.
"""
