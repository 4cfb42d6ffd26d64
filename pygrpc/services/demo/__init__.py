"""The demo: every RPC of the user service between two processes, and what they say on the wire.

``python -m pygrpc.services.demo`` runs it. The parts:

    stage     what is shown, in order; runs in the process that was started
    children  the processes that it starts
    server    the first: the user service, with a word on calls that carry the metadata ``demo-step``
    client    the second: makes the calls of one step when it is told to
    lines     what the processes agree on
"""
