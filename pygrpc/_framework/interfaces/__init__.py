"""What stands for ``grpc.framework.interfaces``."""

from pygrpc._framework.interfaces import face as face
