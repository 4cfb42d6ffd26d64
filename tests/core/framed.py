"""What tests share that look at messages as the reader gives them."""

from pygrpc.core.framing import Compressed, Message, MessageReader


def parts(message: Message) -> tuple[bytes, bool]:
    """The payload of a message, and whether it is compressed."""
    return (message.payload, True) if isinstance(message, Compressed) else (message, False)


def feed(reader: MessageReader, data: bytes) -> list[tuple[bytes, bool]]:
    """The messages that bytes complete."""
    messages: list[Message] = []
    reader.feed(data, messages)
    return [parts(message) for message in messages]
