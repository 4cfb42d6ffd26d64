"""What stands for ``grpc._typing``: names of types that programs import for their annotations."""

from pygrpc.metadata import MetadataType as MetadataType
from pygrpc.options import ChannelArguments as ChannelArgumentType

__all__ = ["ChannelArgumentType", "MetadataType"]
