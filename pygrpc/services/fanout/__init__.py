"""Hints between those who write to a database and those who wait for what is new in it, in any process.

A hint says "there is something new under this topic" and no more. The data itself is in the database, behind a position
from which readers go on, so a hint that is lost costs time and never data: readers also look by themselves, slowly.

    local      what services need, and hints within one process
    redis      hints between processes; loaded when it is used
    opening    either of them, by URL
"""

from pygrpc.services.fanout.local import Fanout, LocalFanout
from pygrpc.services.fanout.opening import open_fanout

__all__ = ["Fanout", "LocalFanout", "open_fanout"]
