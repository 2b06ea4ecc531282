"""OpenAI Chat Completions, as OpenAI answers it (`OpenAi`), and as DeepSeek does (`DeepSeek`)."""

import base64
import json

from .story import LEGAL_NAME, STORIES, Refusal, Story, cut, demand, known

MEMBERS = """model messages stream stream_options tools tool_choice parallel_tool_calls response_format temperature top_p
frequency_penalty presence_penalty seed stop logit_bias logprobs top_logprobs n max_completion_tokens max_tokens
reasoning_effort verbosity user service_tier metadata prompt_cache_key prompt_cache_retention safety_identifier store
prediction modalities audio web_search_options functions function_call x_unknown"""

STATUS = {
    400: ("invalid_request_error", None), 401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"), 404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", None), 429: ("requests", "rate_limit_exceeded"), 500: ("server_error", None),
    503: ("server_error", "service_unavailable"),
}


def error(status: int, message: str, code: str | None = None, param: str | None = None) -> bytes:
    kind, usual = STATUS.get(status, ("server_error", None))
    if code == "insufficient_quota":
        kind = code
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code or usual}}).encode()


class OpenAi:
    name, path, key = "openai-chat", "/chat/completions", "authorization"
    media, reasoning_member, forgets = "text/event-stream; charset=utf-8", None, False

    def check(self, body: dict, headers) -> None:
        known(body, MEMBERS, "the body")
        demand(isinstance(body.get("messages"), list) and body["messages"], "Missing required parameter: 'messages'.", param="messages")
        self.check_messages(body["messages"])
        for tool in body.get("tools") or []:
            known(tool, "type function", "tools")
            known(tool["function"], "name description parameters strict", "tools.function")
            demand(tool["type"] == "function", "Invalid value for tools[].type")
            demand(LEGAL_NAME.match(tool["function"]["name"]), "Invalid 'tools[0].function.name': string does not match pattern.", param="tools")
            if tool["function"].get("strict"):
                schema = tool["function"].get("parameters") or {}
                demand(schema.get("additionalProperties") is False, "'additionalProperties' is required to be supplied and to be false.", param="tools")
        if body.get("tool_choice") not in (None, "none"):
            demand(body.get("tools"), "'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
        self.check_format(body)
        if body.get("stream_options") is not None:
            demand(body.get("stream"), "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options")
        if body.get("top_logprobs") is not None:
            demand(body.get("logprobs"), "'top_logprobs' needs 'logprobs'", param="top_logprobs")
        temperature = body.get("temperature")
        demand(temperature is None or 0 <= temperature <= 2, "Invalid 'temperature': decimal above maximum value.", param="temperature", code="decimal_above_max_value")
        stop = body.get("stop")
        demand(not isinstance(stop, list) or len(stop) <= 4, "Invalid 'stop': array too long.", param="stop")

    def check_format(self, body: dict) -> None:
        form = body.get("response_format") or {"type": "text"}
        demand(form["type"] in ("text", "json_object", "json_schema"), "Invalid response_format")
        if form["type"] == "json_schema":
            known(form["json_schema"], "name schema strict description", "response_format.json_schema")
            demand(form["json_schema"].get("name"), "Missing required parameter: 'response_format.json_schema.name'.")

    def check_messages(self, messages: list) -> None:
        waiting: list[str] = []
        for message in messages:
            # The Node client sends back what its helpers added (`parsed`).
            known(message, "role content name tool_calls tool_call_id refusal audio function_call annotations reasoning_content reasoning parsed", "messages[]")
            role = message["role"]
            demand(role in ("system", "developer", "user", "assistant", "tool"), f"Invalid value: '{role}'.")
            if role == "tool":
                demand(message["tool_call_id"] in waiting, "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.")
                waiting.remove(message["tool_call_id"])
                demand(message.get("content") is not None, "tool messages need content")
                continue
            demand(not waiting, "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.")
            for call in message.get("tool_calls") or []:
                known(call, "id type function custom index", "tool_calls[]")
                demand(len(call["id"]) <= 40, "Invalid 'tool_calls[].id': string too long. Expected a string with maximum length 40.")
                demand(isinstance(call["function"]["arguments"], str), "arguments must be a string")
                json.loads(call["function"]["arguments"])
                waiting.append(call["id"])
            if role == "assistant":
                demand(message.get("content") is not None or message.get("tool_calls"), "Invalid value for 'content': expected a string, got null.")
                demand("reasoning_content" not in message or self.reasoning_member, "Unrecognized member reasoning_content")
            if role == "user":
                demand(message.get("content") is not None, "Invalid value for 'content': expected a string, got null.")
            if isinstance(message.get("content"), list):
                for part in message["content"]:
                    self.check_part(part)
        demand(not waiting, "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.")

    def check_part(self, part: dict) -> None:
        kind = part.get("type")
        demand(kind in ("text", "image_url", "input_audio", "file", "refusal"), f"Invalid content part {kind}")
        if kind == "image_url":
            known(part["image_url"], "url detail", "image_url")
            demand(part["image_url"]["url"].startswith(("https://", "data:image/")), "Invalid image_url")
            if part["image_url"]["url"].startswith("data:"):
                base64.b64decode(part["image_url"]["url"].partition(",")[2], validate=True)

    def answered(self, body: dict) -> bool:
        return any(message["role"] == "tool" for message in body["messages"])

    # ---- answers ----

    def usage(self, story: Story) -> dict:
        usage = story.usage
        return {
            "prompt_tokens": usage["input"], "completion_tokens": usage["output"], "total_tokens": usage["input"] + usage["output"],
            "prompt_tokens_details": {"cached_tokens": usage["cached"], "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": usage["reasoning"], "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
        }

    def finish(self, story: Story) -> str:
        return "stop" if story.finish == "stop_sequence" else story.finish

    def head(self, kind: str, body: dict) -> dict:
        return {"id": "chatcmpl-Dbl4q5a6K3RaPMymUv70btQN", "object": kind, "created": 1790000000, "model": body["model"] + "-2026-08-07", "service_tier": "default", "system_fingerprint": "fp_44709d6fcb"}

    def logprobs(self, story: Story) -> dict | None:
        if not story.logprobs:
            return None
        one = lambda token, value: {"token": token, "logprob": value, "bytes": list(token.encode())}
        content = [one(token, value) | {"top_logprobs": [one(*top) for top in others]} for token, value, others in story.logprobs]
        return {"content": content, "refusal": None}

    def calls(self, story: Story) -> list[dict]:
        return [
            {"id": f"call_Dbl{at}x8Rk2", "type": "function", "function": {"name": name, "arguments": arguments}}
            for at, (name, arguments) in enumerate(story.calls)
        ]

    def whole(self, story: Story, body: dict) -> bytes:
        choices = []
        for index, text in enumerate(story.choices or [story.text]):
            message = {"role": "assistant", "content": None if story.calls and not text else text, "refusal": None, "annotations": []}
            if story.citation:
                message["annotations"] = [self.annotation(story)]
            if self.reasoning_member and story.reasoning:
                message[self.reasoning_member] = story.reasoning
            if story.calls:
                message["tool_calls"] = self.calls(story)
            choices.append({"index": index, "message": message, "logprobs": self.logprobs(story), "finish_reason": self.finish(story)})
        return json.dumps(self.head("chat.completion", body) | {"choices": choices, "usage": self.usage(story)}).encode()

    def annotation(self, story: Story) -> dict:
        found = {"start_index": 0, "end_index": len(story.text), "url": story.citation["url"], "title": story.citation["title"]}
        return {"type": "url_citation", "url_citation": found}

    def stream(self, story: Story, body: dict) -> list[bytes]:
        asked = (body.get("stream_options") or {}).get("include_usage")
        head = self.head("chat.completion.chunk", body)
        out = []

        def say(choices: list, **more):
            chunk = head | {"choices": choices} | ({"usage": None} if asked else {}) | more | {"obfuscation": "xK3"}
            out.append(b"data: " + json.dumps(chunk).encode() + b"\n\n")

        def delta(index: int, finish=None, logprobs=None, **members):
            say([{"index": index, "delta": members, "logprobs": logprobs, "finish_reason": finish}])

        texts = story.choices or [story.text]
        for index in range(len(texts)):
            delta(index, role="assistant", content="", refusal=None)
        if self.reasoning_member:
            for piece in cut(story.reasoning):
                delta(0, **{self.reasoning_member: piece})
        for index, text in enumerate(texts):
            for piece in cut(text):
                delta(index, content=piece, logprobs=self.logprobs(story))
        if story.citation:
            delta(0, annotations=[self.annotation(story)])
        for at, call in enumerate(self.calls(story)):
            begun = call | {"index": at, "function": {"name": call["function"]["name"], "arguments": ""}}
            delta(0, tool_calls=[begun])
            for piece in cut(call["function"]["arguments"]):
                delta(0, tool_calls=[{"index": at, "function": {"arguments": piece}}])
        for index in range(len(texts)):
            delta(index, finish=self.finish(story))
        if asked:
            say([], usage=self.usage(story))
        out.append(b"data: [DONE]\n\n")
        return out

    def broken(self) -> list[bytes]:
        """An error event in the midst of a stream."""
        return [b"data: " + error(500, "The server had an error while processing your request.") + b"\n\n"]

    def fault(self, status: int, message: str, code: str | None, param: str | None) -> tuple[bytes, dict]:
        return error(status, message, code, param), {"x-request-id": "req_upstream"}

    def story(self, name: str) -> Story:
        return STORIES[name]


class DeepSeek(OpenAi):
    """Thinking in `reasoning_content`, usage in the last chunk asked for or not, cache hits under another name."""

    name, reasoning_member = "deepseek", "reasoning_content"

    def check_format(self, body: dict) -> None:
        form = body.get("response_format") or {"type": "text"}
        demand(form["type"] in ("text", "json_object"), "This response_format type is unavailable now")
        if form["type"] == "json_object":
            demand("json" in json.dumps(body["messages"]).lower(), "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'.")

    def usage(self, story: Story) -> dict:
        usage = super().usage(story)
        hit = story.usage["cached"]
        return usage | {"prompt_cache_hit_tokens": hit, "prompt_cache_miss_tokens": story.usage["input"] - hit}

    def stream(self, story: Story, body: dict) -> list[bytes]:
        told = super().stream(story, body | {"stream_options": {"include_usage": True}})
        # The report stands in the chunk with the finish reason, and comments come while the request waits.
        report, finish = told[-2], json.loads(told[-3][6:])
        finish["usage"] = json.loads(report[6:])["usage"]
        return [b": keep-alive\n\n", *told[:-3], b"data: " + json.dumps(finish).encode() + b"\n\n", told[-1]]
