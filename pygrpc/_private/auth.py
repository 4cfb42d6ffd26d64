"""What stands for ``grpc._auth`` and ``grpc._plugin_wrapping``."""

import inspect
from typing import Any

from pygrpc.call_credentials import _AccessToken as AccessTokenAuthMetadataPlugin
from pygrpc.call_credentials import _Context as _AuthMetadataContext
from pygrpc.call_credentials import metadata_call_credentials as metadata_plugin_call_credentials
from pygrpc.interfaces import AuthMetadataContext, AuthMetadataPlugin, AuthMetadataPluginCallback

__all__ = [
    "AccessTokenAuthMetadataPlugin",
    "GoogleCallCredentials",
    "_AuthMetadataContext",
    "metadata_plugin_call_credentials",
]


class GoogleCallCredentials(AuthMetadataPlugin):
    """Signs calls with credentials of oauth2client."""

    def __init__(self, credentials: Any) -> None:
        """Keeps the credentials.

        Args:
            credentials: Something with a method ``get_access_token``. If that has a parameter ``additional_claims``,
                they make tokens for one service, and are told which.
        """
        self._get_access_token = credentials.get_access_token
        self._for_a_service = "additional_claims" in inspect.signature(self._get_access_token).parameters

    def __call__(self, context: AuthMetadataContext, callback: AuthMetadataPluginCallback) -> None:
        """Gives the header with the token, or what went wrong."""
        claims = {"additional_claims": {"aud": context.service_url}} if self._for_a_service else {}
        try:
            token = self._get_access_token(**claims).access_token
        except Exception as error:
            callback((), error)
        else:
            callback((("authorization", f"Bearer {token}"),), None)
