"""Hints between those who write to a database and those who wait for what is new in it, in any process.

A hint says "there is something new under this topic" and no more. The data itself is in the database, behind a position
from which readers go on, so a hint that is lost costs time and never data: readers also look by themselves, slowly.
"""

from pygrpc.services.fanout.local import Fanout, LocalFanout

__all__ = ["Fanout", "LocalFanout"]
