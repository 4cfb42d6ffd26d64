"""What stands for ``grpc.framework``, of which programs still use the logging pool."""

from pygrpc._framework import foundation as foundation
