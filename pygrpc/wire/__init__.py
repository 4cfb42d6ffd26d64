"""Tools to watch gRPC on the wire: a recording proxy, an annotated conversation, and a printer for terminals.

    async with RecordingProxy("127.0.0.1", 50051) as proxy:
        ...  # calls to proxy.address instead of the server
    conversation = Conversation(pool_resolver())
    printer = Printer(sys.stdout)
    for event in proxy.events:
        for entry in conversation.observe(event):
            printer.print(entry)

``pygrpc wire --listen PORT --target HOST:PORT`` does the same live. None of it is needed for calls.
"""

from pygrpc.wire.annotate import Conversation, Detail, DetailKind, Entry
from pygrpc.wire.messages import Resolver, pool_resolver
from pygrpc.wire.proxy import RecordingProxy
from pygrpc.wire.recording import Direction, Event, EventKind
from pygrpc.wire.render import Printer, Style

__all__ = [
    "Conversation",
    "Detail",
    "DetailKind",
    "Direction",
    "Entry",
    "Event",
    "EventKind",
    "Printer",
    "RecordingProxy",
    "Resolver",
    "Style",
    "pool_resolver",
]
