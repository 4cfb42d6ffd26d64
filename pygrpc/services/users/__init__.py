"""The user service: accounts, changes as they happen, batches and a chat (protos/user/v1/user.proto, and user.proto).

How the parts fit together:

    service     one method for each RPC of user.v1; with unversioned the only part that knows about calls
    unversioned the same for the contract without a version, whose users have numbers
    batches     how large a stream of new users may be
    validation  every rule about what a request may hold
    fields      update masks: which fields a request changes, and changing them
    paging      page tokens
    errors      what went wrong, as a status with details
    store       what the service needs of a storage; database implements it, schema has the tables
    passwords   Argon2id hashes
    events      committed changes of all processes on their way to those who watch
    chat        messages on their way to those who chat

What all services share is beside this package: errors, outbox, database and dialects of pygrpc.services.
"""

from pygrpc.services.users.database import DatabaseUserStore
from pygrpc.services.users.passwords import Passwords
from pygrpc.services.users.service import UserService
from pygrpc.services.users.store import UserStore
from pygrpc.services.users.unversioned import UnversionedUserService
from pygrpc.services.users.validation import Limits

__all__ = ["DatabaseUserStore", "Limits", "Passwords", "UnversionedUserService", "UserService", "UserStore"]
