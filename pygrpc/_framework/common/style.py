"""What stands for ``grpc.framework.common.style``."""

import enum


class Service(enum.Enum):
    """How a method is written: with control flow, or with events."""

    INLINE = "inline"
    EVENT = "event"
