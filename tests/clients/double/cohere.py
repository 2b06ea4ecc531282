"""Cohere v2 chat."""

import json

from .story import STORIES, Story, cut, demand, known

MEMBERS = """model messages stream tools tool_choice response_format temperature p k seed stop_sequences max_tokens
frequency_penalty presence_penalty logprobs documents citation_options safety_mode strict_tools thinking priority"""
FINISH = {"stop": "COMPLETE", "length": "MAX_TOKENS", "tool_calls": "TOOL_CALL", "content_filter": "ERROR_TOXIC", "stop_sequence": "STOP_SEQUENCE"}


class Cohere:
    name, path, key = "cohere", "/v2/chat", "authorization"
    media, reasoning_member, forgets = "text/event-stream", "thinking", False

    def check(self, body: dict, headers) -> None:
        known(body, MEMBERS, "the body")
        demand(body.get("messages"), "invalid request: messages must not be empty")
        demand(body.get("tool_choice") in (None, "REQUIRED", "NONE"), "invalid tool_choice")
        waiting: set[str] = set()
        for message in body["messages"]:
            known(message, "role content tool_calls tool_call_id tool_plan citations", "messages[]")
            demand(message["role"] in ("system", "user", "assistant", "tool"), "invalid role")
            if message["role"] == "tool":
                demand(message["tool_call_id"] in waiting, "invalid request: tool call id not found in previous tool calls")
                waiting.discard(message["tool_call_id"])
            else:
                demand(not waiting, "invalid request: all tool calls must be answered")
            waiting |= {call["id"] for call in message.get("tool_calls") or []}
        demand(not waiting, "invalid request: all tool calls must be answered")
        form = body.get("response_format") or {"type": "text"}
        known(form, "type json_schema schema", "response_format")
        demand(form["type"] in ("text", "json_object"), "invalid response_format")

    def answered(self, body: dict) -> bool:
        return any(message["role"] == "tool" for message in body["messages"])

    def usage(self, story: Story) -> dict:
        usage = story.usage
        tokens = {"input_tokens": usage["input"], "output_tokens": usage["output"]}
        if usage["reasoning"]:
            tokens["reasoning_tokens"] = usage["reasoning"]
        return {"billed_units": {"input_tokens": 5, "output_tokens": usage["output"]}, "tokens": tokens, "cached_tokens": usage["cached"]}

    def calls(self, story: Story) -> list[dict]:
        return [
            {"id": f"{name}_wgdyg5frjc3{at}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for at, (name, arguments) in enumerate(story.calls)
        ]

    def whole(self, story: Story, body: dict) -> bytes:
        content = [{"type": "thinking", "thinking": story.reasoning}] if story.reasoning else []
        message: dict = {"role": "assistant"}
        if story.text and story.calls:
            message["tool_plan"] = story.text
        elif story.text:
            content.append({"type": "text", "text": story.text})
        if content:
            message["content"] = content
        if story.calls:
            message["tool_calls"] = self.calls(story)
        done = {"id": "a7e48140-56c7-47e1-930a-26a8987e7d47", "finish_reason": FINISH[story.finish], "message": message, "usage": self.usage(story)}
        return json.dumps(done).encode()

    def stream(self, story: Story, body: dict) -> list[bytes]:
        out: list[bytes] = []

        def say(kind: str, index: int | None = None, **members):
            told = {"type": kind} | ({} if index is None else {"index": index}) | members
            out.append(f"event: {kind}\ndata: {json.dumps(told)}\n\n".encode())

        say("message-start", id="a7e48140-56c7-47e1-930a-26a8987e7d47", delta={"message": {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}})
        blocks = [("thinking", story.reasoning)] if story.reasoning else []
        blocks += [("text", story.text)] if story.text and not story.calls else []
        for index, (kind, text) in enumerate(blocks):
            say("content-start", index, delta={"message": {"content": {"type": kind, kind: ""}}})
            for piece in cut(text):
                say("content-delta", index, delta={"message": {"content": {kind: piece}}})
            say("content-end", index)
        if story.calls:
            for piece in cut(story.text):
                say("tool-plan-delta", delta={"message": {"tool_plan": piece}})
        for index, call in enumerate(self.calls(story)):
            say("tool-call-start", index, delta={"message": {"tool_calls": call | {"function": {"name": call["function"]["name"], "arguments": ""}}}})
            for piece in cut(call["function"]["arguments"]):
                say("tool-call-delta", index, delta={"message": {"tool_calls": {"function": {"arguments": piece}}}})
            say("tool-call-end", index)
        say("message-end", delta={"finish_reason": FINISH[story.finish], "usage": self.usage(story)})
        return out

    def broken(self) -> list[bytes]:
        told = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "internal server error"}}
        return [b"event: message-end\ndata: " + json.dumps(told).encode() + b"\n\n"]

    def fault(self, status: int, message: str, code: str | None, param: str | None) -> tuple[bytes, dict]:
        return json.dumps({"id": "x", "message": message}).encode(), {}

    def story(self, name: str) -> Story:
        return STORIES[name]
