"""OpenAI Responses."""

import base64
import json

from .openai_chat import error
from .story import LEGAL_NAME, SIGNATURE, STORIES, Story, cut, demand, known

MEMBERS = """model input instructions stream stream_options tools tool_choice parallel_tool_calls text temperature top_p
max_output_tokens reasoning include metadata store user service_tier prompt_cache_key prompt_cache_retention
safety_identifier truncation previous_response_id conversation background max_tool_calls prompt top_logprobs
client_metadata x_unknown"""


class Responses:
    name, path, key = "responses", "/responses", "authorization"
    media, reasoning_member, forgets = "text/event-stream; charset=utf-8", "summary", False

    def check(self, body: dict, headers) -> None:
        known(body, MEMBERS, "the body")
        demand(body.get("input"), "Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
        if not isinstance(body["input"], str):
            self.check_items(body["input"])
        temperature = body.get("temperature")
        demand(temperature is None or (isinstance(temperature, (int, float)) and 0 <= temperature <= 2), "Invalid type for 'temperature'", param="temperature")
        for tool in body.get("tools") or []:
            if tool["type"] == "function":
                known(tool, "type name description parameters strict", "tools[]")
                demand(LEGAL_NAME.match(tool["name"]), "Invalid 'tools[0].name': string does not match pattern.")
                demand("parameters" in tool, "Missing required parameter: 'tools[0].parameters'.")
        form = (body.get("text") or {}).get("format") or {"type": "text"}
        if form["type"] == "json_schema":
            known(form, "type name schema strict description", "text.format")
            demand(form.get("name") and isinstance(form.get("schema"), dict), "Missing required parameter: 'text.format.name'.")
        demand(body.get("max_output_tokens") is None or body["max_output_tokens"] >= 16, "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16", param="max_output_tokens", code="integer_below_min_value")

    def check_items(self, items: list) -> None:
        open_calls: list[str] = []
        for item in items:
            kind = item.get("type", "message")
            if kind == "message":
                known(item, "type role content id status phase", "input[]")
                parts = item["content"] if isinstance(item["content"], list) else []
                speaks = ("output_text", "refusal") if item["role"] == "assistant" else ("input_text", "input_image", "input_file")
                demand(item["role"] in ("user", "system", "developer", "assistant"), "input[].role")
                for part in parts:
                    demand(part["type"] in speaks, f"Invalid value: '{part['type']}'. Supported values are: {speaks}.")
                    if part.get("image_url", "").startswith("data:"):
                        base64.b64decode(part["image_url"].partition(",")[2], validate=True)
            elif kind == "function_call":
                demand(isinstance(item["arguments"], str) and len(item["call_id"]) <= 64, "input[].call_id")
                open_calls.append(item["call_id"])
            elif kind == "function_call_output":
                demand(item["call_id"] in open_calls, f"No tool call found for function call output with call_id {item['call_id']}.")
                open_calls.remove(item["call_id"])
                demand(isinstance(item["output"], (str, list)), "input[].output")
            elif kind == "reasoning":
                demand(isinstance(item.get("summary"), list), "Missing required parameter: 'input[].summary'.")
                demand(item.get("encrypted_content") in (None, SIGNATURE), "The encrypted content could not be verified.")
            else:
                demand(kind in ("custom_tool_call", "custom_tool_call_output", "item_reference", "local_shell_call"), f"Invalid value: '{kind}'.")
        demand(not open_calls, f"No tool output found for function call {open_calls}.")

    def answered(self, body: dict) -> bool:
        items = body["input"] if isinstance(body["input"], list) else []
        return any(item.get("type") == "function_call_output" for item in items)

    # ---- answers ----

    def usage(self, story: Story) -> dict:
        usage = story.usage
        return {
            "input_tokens": usage["input"], "input_tokens_details": {"cached_tokens": usage["cached"]}, "output_tokens": usage["output"],
            "output_tokens_details": {"reasoning_tokens": usage["reasoning"]}, "total_tokens": usage["input"] + usage["output"],
        }

    def items(self, story: Story, body: dict) -> list[dict]:
        items: list[dict] = []
        if story.reasoning:
            items.append({"id": "rs_0dbl", "type": "reasoning", "summary": [{"type": "summary_text", "text": story.reasoning}]})
            if "reasoning.encrypted_content" in (body.get("include") or []):
                items[-1]["encrypted_content"] = SIGNATURE
        if story.text or story.finish == "content_filter" or not story.calls:
            part: dict = {"type": "output_text", "text": story.text, "annotations": [], "logprobs": []}
            if story.citation:
                found = story.citation
                part["annotations"] = [{"type": "url_citation", "start_index": 0, "end_index": len(story.text), "url": found["url"], "title": found["title"]}]
            if story.logprobs:
                one = lambda token, value: {"token": token, "logprob": value, "bytes": list(token.encode())}
                part["logprobs"] = [one(token, value) | {"top_logprobs": [one(*pair) for pair in others]} for token, value, others in story.logprobs]
            items.append({"id": "msg_0dbl", "type": "message", "status": "completed", "role": "assistant", "content": [part]})
        for at, (name, arguments) in enumerate(story.calls):
            items.append({"id": f"fc_0dbl{at}", "type": "function_call", "status": "completed", "call_id": f"call_Rsp{at}x8Rk2", "name": name, "arguments": arguments})
        return items

    def response(self, story: Story, body: dict, status: str, items: list, usage: dict | None) -> dict:
        why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(story.finish)
        if status == "completed" and why:
            status = "incomplete"
        return {
            "id": "resp_0dblc5c5", "object": "response", "created_at": 1790000000, "status": status, "background": False, "error": None,
            "incomplete_details": {"reason": why} if status == "incomplete" else None, "instructions": body.get("instructions"),
            "max_output_tokens": body.get("max_output_tokens"), "model": body["model"] + "-2026-08-07", "output": items,
            "parallel_tool_calls": body.get("parallel_tool_calls", True), "previous_response_id": None, "reasoning": body.get("reasoning") or {"effort": None, "summary": None},
            "service_tier": "default", "store": body.get("store", True), "temperature": 1.0, "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice", "auto"), "tools": body.get("tools") or [], "top_p": 1.0, "truncation": "disabled", "usage": usage, "user": None, "metadata": body.get("metadata") or {},
        }

    def whole(self, story: Story, body: dict) -> bytes:
        return json.dumps(self.response(story, body, "completed", self.items(story, body), self.usage(story))).encode()

    def stream(self, story: Story, body: dict) -> list[bytes]:
        out: list[bytes] = []

        def say(kind: str, **members):
            told = {"type": kind, "sequence_number": len(out)} | members
            out.append(f"event: {kind}\ndata: {json.dumps(told)}\n\n".encode())

        begun = self.response(story, body, "in_progress", [], None)
        say("response.created", response=begun)
        say("response.in_progress", response=begun)
        items = self.items(story, body)
        for at, item in enumerate(items):
            where = {"item_id": item["id"], "output_index": at}
            empty = {"reasoning": {"summary": []}, "message": {"content": [], "status": "in_progress"}, "function_call": {"arguments": "", "status": "in_progress"}}[item["type"]]
            say("response.output_item.added", output_index=at, item=item | empty)
            if item["type"] == "reasoning":
                say("response.reasoning_summary_part.added", **where, summary_index=0, part={"type": "summary_text", "text": ""})
                for piece in cut(story.reasoning):
                    say("response.reasoning_summary_text.delta", **where, summary_index=0, delta=piece)
                say("response.reasoning_summary_text.done", **where, summary_index=0, text=story.reasoning)
                say("response.reasoning_summary_part.done", **where, summary_index=0, part=item["summary"][0])
            elif item["type"] == "message":
                part = item["content"][0]
                say("response.content_part.added", **where, content_index=0, part={"type": "output_text", "text": "", "annotations": [], "logprobs": []})
                for piece in cut(story.text):
                    say("response.output_text.delta", **where, content_index=0, delta=piece, logprobs=part["logprobs"])
                for index, found in enumerate(part["annotations"]):
                    say("response.output_text.annotation.added", **where, content_index=0, annotation_index=index, annotation=found)
                say("response.output_text.done", **where, content_index=0, text=story.text, logprobs=part["logprobs"])
                say("response.content_part.done", **where, content_index=0, part=part)
            else:
                for piece in cut(item["arguments"]):
                    say("response.function_call_arguments.delta", **where, delta=piece)
                say("response.function_call_arguments.done", **where, arguments=item["arguments"], name=item["name"])
            say("response.output_item.done", output_index=at, item=item)
        done = self.response(story, body, "completed", items, self.usage(story))
        say("response." + done["status"], response=done)
        return out

    def broken(self) -> list[bytes]:
        failed = {"type": "response.failed", "sequence_number": 99, "response": {
            "id": "resp_0dblc5c5", "object": "response", "created_at": 1790000000, "status": "failed", "model": "m", "output": [],
            "error": {"code": "server_error", "message": "The model failed to generate a response."}, "usage": None}}
        return [b"event: response.failed\ndata: " + json.dumps(failed).encode() + b"\n\n"]

    def fault(self, status: int, message: str, code: str | None, param: str | None) -> tuple[bytes, dict]:
        return error(status, message, code, param), {"x-request-id": "req_upstream"}

    def story(self, name: str) -> Story:
        return STORIES[name]
