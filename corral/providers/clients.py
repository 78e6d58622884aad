"""One client for each provider and key, made when it is first needed and shared by all attempts that use that key."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

from corral.platform.settings import Settings
from corral.providers.anthropic import AnthropicProvider
from corral.providers.openai import OpenAIProvider
from corral.providers.openrouter import OpenRouterProvider
from corral.providers.provider import Provider, Trouble
from corral.wire.agents import key_name

_MAKERS: dict[str, type[AnthropicProvider | OpenAIProvider | OpenRouterProvider]] = {
    AnthropicProvider.name: AnthropicProvider,
    OpenAIProvider.name: OpenAIProvider,
    OpenRouterProvider.name: OpenRouterProvider,
}
#: More keys than that are rarely in use at once.
_MOST = 256


class Clients:
    """The clients of this process."""

    def __init__(self, settings: Settings) -> None:
        """Take the server's settings, which may say where a provider's API is."""
        self._urls, self._keys = settings.provider_urls, settings.provider_keys
        self._clients: OrderedDict[tuple[str, str], Provider] = OrderedDict()

    async def get(self, name: str | None, secrets: Mapping[str, str]) -> Provider:
        """Return the client for a provider with the key that is among the secrets. Raises Trouble."""
        maker = _MAKERS.get(name or "")
        if name is None or maker is None:
            known = ", ".join(_MAKERS)
            raise Trouble(
                "unknown_provider", f"There is no provider {name}", f"Set the agent's provider to one of {known}."
            )
        secret = key_name(name)
        key = (secrets.get(secret) or self._keys.get(name, "")).strip()
        if not key:
            hint = f"Put {secret} into the secrets of the org or of the agent, then follow the run up."
            raise Trouble("no_provider_key", f"There is no secret {secret}", hint)
        client = self._clients.get((name, key))
        if client is None:
            # The SDK's import and the certificates take a second, which the loop's other tasks shall not wait.
            made: Provider = await asyncio.to_thread(maker, key, self._urls.get(name))
            client = self._clients.setdefault((name, key), made)
        self._clients.move_to_end((name, key))
        while len(self._clients) > _MOST:
            self._clients.popitem(last=False)
        return client

    async def close(self) -> None:
        """Let all connections go."""
        clients, self._clients = list(self._clients.values()), OrderedDict()
        await asyncio.gather(*(client.close() for client in clients), return_exceptions=True)
