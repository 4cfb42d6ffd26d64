"""The services in production shape: `pygrpc serve`, and the same for programs.

How the parts fit together:

    configuration   the settings, one line each, and where their values come from
    settings        what a setting is; kinds, what it may hold
    services        the services there are, one line each, and how each is opened
    server          all of it in one process: ports, TLS, health, a graceful stop
    guarding        the guards: who calls, how often, what is counted, logged and kept
    statistics      what was counted, in a line of the log; logs, how the log looks
    tls             certificates from files, read anew when these change
    watch           health that follows what the services need
    running         signals, and several processes; processes, what these share
    command         the command line
"""

from pygrpc.services.serving.configuration import Configuration, Loaded, load
from pygrpc.services.serving.errors import StartError
from pygrpc.services.serving.running import run
from pygrpc.services.serving.server import Server
from pygrpc.services.serving.settings import SettingError

__all__ = ["Configuration", "Loaded", "Server", "SettingError", "StartError", "load", "run"]
