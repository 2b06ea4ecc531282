"""Bedrock Converse: JSON, and the binary event stream."""

import base64
import binascii
import json
import re
import struct

from .story import LEGAL_NAME, SIGNATURE, STORIES, Story, cut, demand, known

MEMBERS = """messages system inferenceConfig toolConfig additionalModelRequestFields additionalModelResponseFieldPaths
guardrailConfig requestMetadata performanceConfig serviceTier outputConfig promptVariables"""
LEGAL_ID = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
FINISH = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "guardrail_intervened", "stop_sequence": "stop_sequence"}
ERRORS = {
    400: "ValidationException", 401: "UnrecognizedClientException", 403: "AccessDeniedException", 404: "ResourceNotFoundException",
    429: "ThrottlingException", 500: "InternalServerException", 503: "ServiceUnavailableException",
}


def frame(headers: dict, payload: bytes) -> bytes:
    packed = b"".join(bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode() for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    told = prelude + struct.pack(">I", binascii.crc32(prelude)) + packed + payload
    return told + struct.pack(">I", binascii.crc32(told))


class Bedrock:
    name, path, key = "bedrock", "/converse", "authorization"
    media, reasoning_member, forgets = "application/vnd.amazon.eventstream", "reasoningContent", False

    def check(self, body: dict, headers) -> None:
        known({name: value for name, value in body.items() if name != "model"}, MEMBERS, "the body")
        known(body.get("inferenceConfig") or {}, "maxTokens temperature topP stopSequences", "inferenceConfig")
        waiting: set[str] = set()
        last = "assistant"
        for turn in body["messages"]:
            demand(turn["role"] in ("user", "assistant") and turn["role"] != last, "A conversation must alternate between user and assistant roles.")
            last = turn["role"]
            demand(turn["content"], "The content field in the Message object is empty.")
            results = set()
            for block in turn["content"]:
                demand(len(block) == 1, "one member a block")
                if "text" in block:
                    demand(block["text"], "The text field in the ContentBlock object is blank.")
                elif "toolUse" in block:
                    demand(LEGAL_NAME.match(block["toolUse"]["name"]) and LEGAL_ID.match(block["toolUse"]["toolUseId"]) and isinstance(block["toolUse"]["input"], dict), "toolUse")
                elif "toolResult" in block:
                    results.add(block["toolResult"]["toolUseId"])
                elif "reasoningContent" in block:
                    told = block["reasoningContent"].get("reasoningText")
                    demand(told is None or told.get("signature") == SIGNATURE, "Invalid `signature` in `thinking` block")
                elif "image" in block:
                    demand(block["image"]["format"] in ("png", "jpeg", "gif", "webp") and "bytes" in block["image"]["source"], "image")
                    base64.b64decode(block["image"]["source"]["bytes"], validate=True)
            demand(results == waiting, "Expected toolResult blocks at messages for the following Ids")
            waiting = {block["toolUse"]["toolUseId"] for block in turn["content"] if "toolUse" in block}
        demand(body["messages"][0]["role"] == "user", "A conversation must start with a user message.")
        for tool in (body.get("toolConfig") or {}).get("tools") or []:
            demand("toolSpec" not in tool or LEGAL_NAME.match(tool["toolSpec"]["name"]), "Value at 'toolConfig.tools.1.member.toolSpec.name' failed to satisfy constraint: [a-zA-Z0-9_-]+")
        if any("toolUse" in block for turn in body["messages"] for block in turn["content"]):
            demand(body.get("toolConfig"), "The toolConfig field must be defined when using toolUse and toolResult content blocks.")

    def answered(self, body: dict) -> bool:
        return any("toolResult" in block for turn in body["messages"] for block in turn["content"])

    def usage(self, story: Story) -> dict:
        usage = story.usage
        return {
            "inputTokens": usage["input"] - usage["cached"], "outputTokens": usage["output"], "totalTokens": usage["input"] + usage["output"],
            "cacheReadInputTokens": usage["cached"], "cacheWriteInputTokens": 0,
        }

    def blocks(self, story: Story) -> list[dict]:
        blocks: list[dict] = []
        if story.reasoning:
            blocks.append({"reasoningContent": {"reasoningText": {"text": story.reasoning, "signature": SIGNATURE}}})
        if story.text:
            blocks.append({"text": story.text})
        for at, (name, arguments) in enumerate(story.calls):
            blocks.append({"toolUse": {"toolUseId": f"tooluse_Dbl{at}yQ7", "name": name, "input": json.loads(arguments)}})
        return blocks

    def whole(self, story: Story, body: dict) -> bytes:
        done = {"output": {"message": {"role": "assistant", "content": self.blocks(story)}}, "stopReason": FINISH[story.finish], "usage": self.usage(story), "metrics": {"latencyMs": 500}}
        return json.dumps(done).encode()

    def stream(self, story: Story, body: dict) -> list[bytes]:
        out: list[bytes] = []

        def say(kind: str, **members):
            headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
            out.append(frame(headers, json.dumps(members | {"p": "abcdefgh"}).encode()))

        say("messageStart", role="assistant")
        for index, block in enumerate(self.blocks(story)):
            if "toolUse" in block:
                call = block["toolUse"]
                say("contentBlockStart", contentBlockIndex=index, start={"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}})
                raw = story.calls[int(call["toolUseId"][11])][1]
                deltas = [{"toolUse": {"input": piece}} for piece in (cut(raw) if raw != "{}" else [])]
            elif "text" in block:
                deltas = [{"text": piece} for piece in cut(block["text"])]
            else:
                deltas = [{"reasoningContent": {"text": piece}} for piece in cut(story.reasoning)]
                deltas.append({"reasoningContent": {"signature": SIGNATURE}})
            for delta in deltas:
                say("contentBlockDelta", contentBlockIndex=index, delta=delta)
            say("contentBlockStop", contentBlockIndex=index)
        say("messageStop", stopReason=FINISH[story.finish])
        say("metadata", usage=self.usage(story), metrics={"latencyMs": 500})
        return out

    def broken(self) -> list[bytes]:
        headers = {":exception-type": "modelStreamErrorException", ":content-type": "application/json", ":message-type": "exception"}
        return [frame(headers, b'{"message":"The system encountered an unexpected error during processing."}')]

    def fault(self, status: int, message: str, code: str | None, param: str | None) -> tuple[bytes, dict]:
        kind = ERRORS.get(status, "InternalServerException")
        return json.dumps({"message": message}).encode(), {"x-amzn-errortype": kind + ":http://internal.amazon.com/coral/"}

    def story(self, name: str) -> Story:
        return STORIES[name]
