"""What Claude Code says, message by message → canonical events and streamed tokens. Knows no process and no clock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from corral.base.redactor import Redactor
from corral.runner.engines.protocol import Emit, Token
from corral.wire.events import EventType, TokenFrame

#: Characters of a tool's output, or of one text in its input, that an event keeps; the rest is in the CLI's transcript.
KEPT_CHARACTERS = 100_000
_KEPT_TAIL = 20_000
#: What Claude Code says of an MCP server that is of no use.
_UNUSABLE = {
    "failed": "Claude Code could not start or reach it; a test of it may say more",
    "needs-auth": "it asks for a sign-in, which nobody can do here: give it a token in its headers",
}
_ENDED_TASK = frozenset({"completed", "failed", "stopped", "killed"})


class Translator:
    """One attempt's conversation. Feed it every raw message in order; it remembers what later messages refer to."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        """Start with nothing said; `redactor` masks what is cut: half of a secret is not found any more."""
        self.redactor = redactor or Redactor({})
        self.session_id: str | None = None
        self.permission_mode: str | None = None  #: the CLI's own, which changes when a plan is accepted
        self.plans: dict[str, str] = {}  #: tool use → plan, as the CLI drops it from what it asks about
        self._tools: dict[str, str] = {}  #: tool use → name
        self._agents: dict[str, dict[str, Any]] = {}  #: tool use → its start, while the sub-agent runs
        self._tasks: dict[str, str] = {}  #: the CLI's task id → tool use
        self._ended: dict[str, str] = {}  #: tool use → how its sub-agent ended
        self._message = ""  #: id of the message that streams now
        self._index = 0
        self._offset = 0

    @property
    def has_agents(self) -> bool:
        """Tell whether a sub-agent still runs."""
        return bool(self._agents.keys() - self._ended.keys())

    def translate(self, raw: Mapping[str, Any]) -> Iterator[Emit | Token]:
        """Yield what `raw` means to a reader of the log; nothing for most kinds."""
        match raw.get("type"):
            case "stream_event":
                yield from self._stream(raw)
            case "assistant":
                yield from self._assistant(raw)
            case "user":
                yield from self._user(raw)
            case "system":
                yield from self._system(raw)
            case _:
                return

    def finish(self) -> Iterator[Emit]:
        """Yield the ends of sub-agents that the CLI has not told."""
        for use in list(self._agents):
            yield from self._agent_stop(use, self._ended.get(use, "stopped"), "")

    def _stream(self, raw: Mapping[str, Any]) -> Iterator[Token]:
        if raw.get("parent_tool_use_id"):
            return
        event = raw.get("event") or {}
        match event.get("type"):
            case "message_start":
                self._message = event["message"].get("id") or ""
            case "content_block_start":
                self._index, self._offset = event.get("index", 0), 0
            case "content_block_delta":
                delta = event.get("delta") or {}
                kind = {"text_delta": "text", "thinking_delta": "thinking"}.get(delta.get("type", ""))
                if kind and (text := delta.get(kind)):
                    yield Token(TokenFrame(block=self._block, offset=self._offset, text=clean(text), kind=kind))
                    self._offset += len(text)
            case _:
                return

    def _assistant(self, raw: Mapping[str, Any]) -> Iterator[Emit]:
        if raw.get("is_api_error_message"):
            return  # told by run.failed
        message, parent = raw["message"], raw.get("parent_tool_use_id")
        streamed = {"block": self._block} if parent is None and message.get("id") == self._message else {}
        for block in message.get("content") or []:
            match block.get("type"):
                case "text" if block.get("text", "").strip():
                    yield emit(
                        EventType.AGENT_MESSAGE,
                        text=block["text"],
                        model=message.get("model"),
                        message_id=message.get("id"),
                        parent_tool_use_id=parent,
                        **streamed,
                    )
                case "thinking" if block.get("thinking", "").strip():
                    yield emit(EventType.AGENT_THINKING, text=block["thinking"], parent_tool_use_id=parent, **streamed)
                case "tool_use" | "server_tool_use":
                    yield self._tool_call(block, parent)
                case "web_search_tool_result" | "web_fetch_tool_result" | "advisor_tool_result":
                    yield self._tool_result(block, parent)
                case _:
                    continue

    def _user(self, raw: Mapping[str, Any]) -> Iterator[Emit]:
        content = raw["message"].get("content")
        if isinstance(content, list):
            for block in content:
                if isinstance(block, dict) and block.get("type") == "tool_result":
                    yield self._tool_result(block, raw.get("parent_tool_use_id"))

    def _tool_call(self, block: Mapping[str, Any], parent: str | None) -> Emit:
        use, name, given = block["id"], block["name"], block.get("input") or {}
        self._tools[use] = name
        if name == "ExitPlanMode" and isinstance(given.get("plan"), str):
            self.plans[use] = given["plan"]
        return emit(
            EventType.AGENT_TOOL_CALL,
            tool_use_id=use,
            name=name,
            input=self._shortened(given),
            parent_tool_use_id=parent,
        )

    def _tool_result(self, block: Mapping[str, Any], parent: str | None) -> Emit:
        use = block.get("tool_use_id", "")
        return emit(
            EventType.AGENT_TOOL_RESULT,
            tool_use_id=use,
            name=self._tools.get(use, ""),
            output=self._shorten(flatten(block.get("content"))),
            is_error=bool(block.get("is_error")),
            parent_tool_use_id=parent,
        )

    def _system(self, raw: Mapping[str, Any]) -> Iterator[Emit]:
        match raw.get("subtype"):
            case "init":
                yield from self._init(raw)
            case "status":
                self.permission_mode = raw.get("permissionMode") or self.permission_mode
            case "api_retry":
                yield _retry(raw)
            case "task_started":
                yield from self._agent_start(raw)
            case "task_notification":
                yield from self._agent_stop(raw.get("tool_use_id", ""), raw.get("status", ""), raw.get("summary", ""))
            case "task_updated":
                # Most ends are told again by a notification, with the summary; `finish` tells those that are not.
                if (status := (raw.get("patch") or {}).get("status")) in _ENDED_TASK:
                    self._ended[self._tasks.get(raw.get("task_id", ""), "")] = status
            case _:
                return

    def _init(self, raw: Mapping[str, Any]) -> Iterator[Emit]:
        self.permission_mode = raw.get("permissionMode")
        if raw.get("session_id") == self.session_id:
            return  # it is said again at each turn
        self.session_id = raw.get("session_id")
        servers = list(_servers(raw))
        yield emit(
            EventType.SESSION_INIT,
            session_id=self.session_id,
            cli_version=raw.get("claude_code_version"),
            model=raw.get("model"),
            permission_mode=self.permission_mode,
            tools=raw.get("tools") or [],
            mcp_servers=[{"name": name, "status": status} for name, status in servers],
        )
        for name, status in servers:
            if (why := _UNUSABLE.get(status)) is not None:
                yield emit(EventType.AGENT_NEEDS_ATTENTION, message=f"The MCP server {name} cannot be used: {why}")

    def _agent_start(self, raw: Mapping[str, Any]) -> Iterator[Emit]:
        use = raw.get("tool_use_id")
        if raw.get("task_type") != "local_agent" or not use:
            return
        self._agents[use] = {"tool_use_id": use, "name": raw.get("subagent_type") or "agent"}
        self._tasks[raw.get("task_id", "")] = use
        yield emit(
            EventType.AGENT_SUBAGENT_START,
            **self._agents[use],
            description=raw.get("description") or "",
            prompt=self._shorten(raw.get("prompt") or ""),
        )

    def _agent_stop(self, use: str, status: str, summary: str) -> Iterator[Emit]:
        if started := self._agents.pop(use, None):
            yield emit(EventType.AGENT_SUBAGENT_STOP, **started, status=status, summary=self._shorten(summary))

    def _shorten(self, text: str) -> str:
        """Return `text` with its middle left out if it is very long, saying so."""
        if len(text) <= KEPT_CHARACTERS:
            return text
        text = self.redactor.text(text)
        left_out = len(text) - KEPT_CHARACTERS
        head, tail = text[: KEPT_CHARACTERS - _KEPT_TAIL], text[-_KEPT_TAIL:]
        return f"{head}\n… {left_out:,} characters left out …\n{tail}" if left_out > 0 else text

    def _shortened(self, value: Any) -> Any:
        """The same, for every text in a tool's input."""
        match value:
            case str():
                return self._shorten(value)
            case list():
                return [self._shortened(item) for item in value]
            case dict():
                return {key: self._shortened(item) for key, item in value.items()}
            case _:
                return value

    @property
    def _block(self) -> str:
        return f"{self._message}/{self._index}"


def emit(kind: EventType, **payload: Any) -> Emit:
    """Return the event with its payload encoded once."""
    return Emit(type=kind, payload=encode(payload))


def encode(value: Any) -> msgspec.Raw:
    """Return `value` as JSON."""
    try:
        return msgspec.Raw(msgspec.json.encode(value))
    except UnicodeEncodeError:
        # Half of a surrogate pair: a program's output cut inside an emoji.
        return msgspec.Raw(clean(json.dumps(value, ensure_ascii=False)).encode())


def clean(text: str) -> str:
    """Return `text` as something that UTF-8 can say."""
    return text.encode("utf-8", "replace").decode()


def flatten(content: Any) -> str:
    """Return a tool's result as plain text: texts as they are, an image by its kind, anything else as JSON."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return json.dumps(content, ensure_ascii=False)
    parts = []
    for block in content:
        if isinstance(block, dict) and block.get("type") == "text":
            parts.append(block.get("text") or "")
        elif isinstance(block, dict) and block.get("type") in {"image", "document"}:
            source = block.get("source") or {}
            size = len(source.get("data") or "") * 3 // 4
            parts.append(f"[{block['type']} {source.get('media_type') or ''}, {size:,} bytes]")
        else:
            parts.append(block if isinstance(block, str) else json.dumps(block, ensure_ascii=False))
    return "\n".join(parts)


def _servers(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the MCP servers that the run was given, and how Claude Code found them; the user's own are not ours."""
    for server in raw.get("mcp_servers") or []:
        if server.get("source", "dynamic") == "dynamic":
            yield str(server.get("name")), str(server.get("status"))


def _retry(raw: Mapping[str, Any]) -> Emit:
    status, delay = raw.get("error_status"), (raw.get("retry_delay_ms") or 0) / 1000
    what = f"answered {status} ({raw.get('error') or 'error'})" if status else "could not be reached"
    of = f" of {raw['max_retries']}" if raw.get("max_retries") else ""
    return emit(
        EventType.SESSION_RETRY,
        message=f"The model's API {what}; retry {raw.get('attempt')}{of} in {delay:.1f} s",
        status=status,
        attempt=raw.get("attempt"),
        delay_seconds=delay,
    )
