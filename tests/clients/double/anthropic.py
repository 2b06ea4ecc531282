"""Anthropic Messages."""

import base64
import json
import re

from .story import SIGNATURE, STORIES, Story, cut, demand, known

MEMBERS = """model messages max_tokens system stream temperature top_p top_k stop_sequences tools tool_choice thinking
metadata service_tier output_config container context_management mcp_servers cache_control speed inference_geo diagnostics
user_profile_id x_unknown thread"""
BLOCKS = "text image document tool_use tool_result thinking redacted_thinking server_tool_use web_search_tool_result search_result"
KINDS = {
    400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 500: "api_error", 503: "api_error", 529: "overloaded_error",
}
FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal", "stop_sequence": "stop_sequence"}
# Conversations that this server keeps, by the id of their last message.
KEPT: dict[str, list] = {}
BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems"}
NO_PREFILL = re.compile(r"claude-(opus|sonnet)-(4-[6-9]|5)|claude-haiku-5")
LEGAL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,128}$")
LEGAL_ID = re.compile(r"^[a-zA-Z0-9_-]+$")


class Anthropic:
    name, path, key = "anthropic", "/v1/messages", "x-api-key"
    media, reasoning_member, forgets = "text/event-stream; charset=utf-8", "thinking", False

    def __init__(self, imitates: bool = False):
        self.imitates = imitates  # another provider's API of this form, which knows no versions

    def check(self, body: dict, headers) -> None:
        version = headers.get("anthropic-version")
        demand(version in ("2023-06-01", "2026-10-21"), "anthropic-version: header is required")
        known(body, MEMBERS, "the body")
        self.resume(body, headers)
        demand(isinstance(body.get("max_tokens"), int) and body["max_tokens"] > 0, "max_tokens: Field required")
        demand(isinstance(body.get("system", ""), (str, list)), "system: Input should be a valid list")
        if version == "2026-10-21" and not self.imitates:
            for name in ("temperature", "top_p", "top_k"):
                demand(name not in body, f"{name}: not supported with this version")
        temperature = body.get("temperature")
        demand(temperature is None or 0 <= temperature <= 1, "temperature: range: 0..1")
        thinking = body.get("thinking") or {"type": "disabled"}
        demand(thinking["type"] in ("enabled", "disabled", "adaptive", "between_tools"), "thinking.type: unknown")
        if thinking["type"] == "enabled":
            budget = thinking.get("budget_tokens")
            demand(isinstance(budget, int) and budget >= 1024, "thinking.budget_tokens: should be greater than or equal to 1024")
            demand(budget < body["max_tokens"], "`max_tokens` must be greater than `thinking.budget_tokens`.")
        thinks = thinking["type"] != "disabled"
        if thinks:
            demand(temperature in (None, 1), "`temperature` may only be set to 1 when thinking is enabled.")
            demand("top_k" not in body, "`top_k` must be unset when thinking is enabled.")
            forced = (body.get("tool_choice") or {}).get("type")
            demand(forced not in ("any", "tool"), "Thinking may not be enabled when tool_choice forces tool use.")
        for tool in body.get("tools") or []:
            if tool.get("type", "custom") == "custom":
                demand(LEGAL_NAME.match(tool["name"]), "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
                known(tool, "type name description input_schema cache_control strict defer_loading input_examples eager_input_streaming allowed_callers", "tools[]")
                demand((tool.get("input_schema") or {}).get("type") == "object", "tools.0.custom.input_schema.type: Field required")
                if tool.get("strict"):
                    no_open_objects(tool["input_schema"])
        demand(not NO_PREFILL.search(body["model"]) or body["messages"][-1]["role"] != "assistant", "This model does not support assistant message prefill. The conversation must end with a user message.")
        form = (body.get("output_config") or {}).get("format")
        if form:
            known(form, "type schema name", "output_config.format")
            demand(form["type"] == "json_schema" and isinstance(form["schema"], dict), "output_config.format")
            no_open_objects(form["schema"])
        self.check_turns(body["messages"], thinking["type"] == "enabled")

    def resume(self, body: dict, headers) -> None:
        """Puts what is kept of a conversation before what was sent of it."""
        thread = body.get("thread")
        if not thread:
            return
        demand(not self.imitates, "Unrecognized request argument supplied in the body: thread")
        demand("message-threads-2026-08-12" in (headers.get("anthropic-beta") or ""), "thread: Extra inputs are not permitted")
        if thread["type"] == "continue":
            demand(thread["previous_message_id"] in KEPT, "thread: no such thread", code="thread_not_found")
            body["messages"][:0] = KEPT[thread["previous_message_id"]]

    def check_turns(self, turns: list, budget: bool) -> None:
        demand(turns, "messages: at least one message is required")
        waiting: set[str] = set()
        for turn in turns:
            known(turn, "role content", "messages[]")
            demand(turn["role"] in ("user", "assistant", "system"), "messages: Unexpected role")
            blocks = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
            demand(blocks or turn["role"] == "assistant", "messages: all messages must have non-empty content")
            for block in blocks:
                demand(block["type"] in BLOCKS.split(), f"messages: unexpected block {block['type']}")
                demand(block["type"] != "text" or block["text"], "messages: text content blocks must be non-empty")
                self.check_block(block)
            results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
            demand(results == waiting, f"`tool_use` ids were found without `tool_result` blocks immediately after: {sorted(waiting ^ results)}.")
            first_other = next((at for at, block in enumerate(blocks) if block["type"] != "tool_result"), len(blocks))
            demand(all(block["type"] != "tool_result" for block in blocks[first_other:]), "tool_result blocks must come first")
            waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
            if turn["role"] == "assistant" and budget and waiting:
                demand(blocks[0]["type"] in ("thinking", "redacted_thinking"), "Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is enabled, a final `assistant` message must start with a thinking block.")
        demand(not waiting, "`tool_use` ids were found without `tool_result` blocks")

    def check_block(self, block: dict) -> None:
        if block["type"] == "tool_use":
            known(block, "type id name input cache_control caller", "tool_use")
            demand(LEGAL_NAME.match(block["name"]), "messages.1.content.0.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{1,200}$'")
            demand(LEGAL_ID.match(block["id"]), "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
            demand(isinstance(block["input"], dict), "tool_use.input: Input should be a valid dictionary")
        elif block["type"] == "tool_result":
            known(block, "type tool_use_id content is_error cache_control", "tool_result")
        elif block["type"] == "thinking":
            demand(block["signature"] == SIGNATURE, "messages.1.content.0: Invalid `signature` in `thinking` block")
        elif block["type"] == "image":
            source = block["source"]
            demand(source["type"] in ("base64", "url", "file"), "image.source")
            if source["type"] == "base64":
                demand(source["media_type"] in ("image/png", "image/jpeg", "image/gif", "image/webp"), "image.source.media_type")
                base64.b64decode(source["data"], validate=True)

    def answered(self, body: dict) -> bool:
        turns = [turn["content"] for turn in body["messages"] if isinstance(turn["content"], list)]
        return any(block["type"] == "tool_result" for turn in turns for block in turn)

    # ---- answers ----

    def usage(self, story: Story, output: int | None = None) -> dict:
        usage = story.usage
        told = {
            "input_tokens": usage["input"] - usage["cached"], "cache_creation_input_tokens": 0, "cache_read_input_tokens": usage["cached"],
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": usage["output"] if output is None else output, "service_tier": "standard", "inference_geo": "not_available",
        }
        if output is None:
            told["output_tokens_details"] = {"thinking_tokens": usage["reasoning"]}
        return told

    def blocks(self, story: Story) -> list[dict]:
        blocks = []
        if story.reasoning:
            blocks.append({"type": "thinking", "thinking": story.reasoning, "signature": SIGNATURE})
        if story.text:
            blocks.append({"type": "text", "text": story.text})
            if story.citation:
                blocks[-1]["citations"] = [self.citation(story)]
        for at, (name, arguments) in enumerate(story.calls):
            blocks.append({"type": "tool_use", "id": f"toolu_01Dbl{at}JdU4xqNHXL9Q", "name": name, "input": json.loads(arguments)})
        return blocks

    def citation(self, story: Story) -> dict:
        found = story.citation
        return {"type": "web_search_result_location", "url": found["url"], "title": found["title"], "cited_text": found["quote"], "encrypted_index": "Eo8BCi"}

    def message(self, story: Story, body: dict) -> dict:
        name = "msg_01DblU4xqNHXL9QCFWkwCDKGr"
        if body.get("thread"):
            name = f"msg_01DblThread{len(KEPT)}"
            KEPT[name] = [*body["messages"], {"role": "assistant", "content": self.blocks(story)}]
        return {"model": body["model"], "id": name, "type": "message", "role": "assistant", "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}

    def whole(self, story: Story, body: dict) -> bytes:
        done = {"content": self.blocks(story), "stop_reason": FINISH[story.finish], "stop_sequence": story.stop_sequence, "usage": self.usage(story)}
        return json.dumps(self.message(story, body) | done).encode()

    def stream(self, story: Story, body: dict) -> list[bytes]:
        out = []

        def say(kind: str, **members):
            out.append(f"event: {kind}\ndata: {json.dumps({'type': kind} | members)}\n\n".encode())

        say("message_start", message=self.message(story, body) | {"usage": self.usage(story, output=1)})
        for index, block in enumerate(self.blocks(story)):
            kind = block["type"]
            empty = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}[kind]
            say("content_block_start", index=index, content_block={k: v for k, v in block.items() if k != "citations"} | empty)
            if index == 0:
                say("ping")
            if kind == "tool_use":
                raw = story.calls[int(block["id"][11])][1]
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *(cut(raw) if raw != "{}" else [])]]
            elif kind == "text":
                deltas = [{"type": "text_delta", "text": piece} for piece in cut(block["text"])]
                deltas += [{"type": "citations_delta", "citation": found} for found in block.get("citations", [])]
            else:
                deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            for delta in deltas:
                say("content_block_delta", index=index, delta=delta)
            say("content_block_stop", index=index)
        end = {"stop_reason": FINISH[story.finish], "stop_sequence": story.stop_sequence}
        say("message_delta", delta=end, usage=self.usage(story))
        say("message_stop")
        return out

    def broken(self) -> list[bytes]:
        return [b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n']

    def fault(self, status: int, message: str, code: str | None, param: str | None) -> tuple[bytes, dict]:
        body = {"type": "error", "error": {"type": KINDS.get(status, "api_error"), "message": message}, "request_id": "req_upstream"}
        if (code or "").startswith("thread_"):
            body["error"]["details"] = {"error_code": code}
        return json.dumps(body).encode(), {"request-id": "req_upstream"}

    def story(self, name: str) -> Story:
        return STORIES[name]


def no_open_objects(schema) -> None:
    """Structured output takes closed objects only."""
    if isinstance(schema, list):
        for item in schema:
            no_open_objects(item)
    elif isinstance(schema, dict):
        if schema.get("type") == "object":
            demand(schema.get("additionalProperties") is False, "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false")
        if isinstance(schema.get("type"), str):
            refused = BOUNDS & set(schema) | {"oneOf"} & set(schema)
            demand(not refused, f"output_config.format.schema: For '{schema['type']}' type, properties {sorted(refused)} are not supported")
        for value in schema.values():
            no_open_objects(value)
