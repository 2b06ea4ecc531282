"""Gemini `generateContent` and `streamGenerateContent`."""

import base64
import json
import re

from .story import SIGNATURE, STORIES, Story, cut, demand

LEGAL_NAME = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_.-]{0,63}$")
STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED",
}
FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY", "stop_sequence": "STOP"}
BODY = "contents systemInstruction tools toolConfig safetySettings generationConfig cachedContent labels model serviceTier store"
GENERATION = """temperature topP topK candidateCount maxOutputTokens stopSequences seed presencePenalty frequencyPenalty
responseMimeType responseSchema responseJsonSchema responseLogprobs logprobs thinkingConfig responseModalities speechConfig
mediaResolution enableEnhancedCivicAnswers imageConfig xUnknown"""
PART = """text thought thoughtSignature inlineData fileData functionCall functionResponse executableCode codeExecutionResult
videoMetadata"""
SCHEMA = """type format title description nullable enum maxItems minItems properties required minProperties maxProperties
minLength maxLength pattern example anyOf propertyOrdering default items minimum maximum"""

# What Google documents for calls that its model did not make; some write the words, some their base64.
SKIP = [word for text in (b"skip_thought_signature_validator", b"context_engineering_is_the_way_to_go") for word in (text.decode(), base64.b64encode(text).decode())]


def camel(given):
    """The API takes both spellings; the checks below know one."""
    if not isinstance(given, dict):
        return given
    return {"".join(part.title() if at else part for at, part in enumerate(name.split("_"))): value for name, value in given.items()}


def known(given: dict, names: str, where: str) -> dict:
    given = camel(given)
    strange = sorted(set(given) - set(names.split()))
    demand(not strange, f'Invalid JSON payload received. Unknown name "{strange[0] if strange else ""}" at \'{where}\': Cannot find field.')
    return given


class Gemini:
    name, path, key = "gemini", "generateContent", "x-goog-api-key"
    media, reasoning_member, forgets = "text/event-stream", "thought", False

    def check(self, body: dict, headers) -> None:
        body = known(body, BODY, "")
        demand(body.get("contents"), "* GenerateContentRequest.contents: contents is not specified\n")
        generation = known(body.get("generationConfig") or {}, GENERATION, "generation_config")
        self.check_generation(generation)
        for tool in body.get("tools") or []:
            tool = known(tool, "functionDeclarations googleSearch codeExecution urlContext googleSearchRetrieval", "tools[0]")
            for function in tool.get("functionDeclarations") or []:
                demand(LEGAL_NAME.match(function["name"]), "Invalid function name. Must start with a letter or an underscore.")
                function = known(function, "name description parameters parametersJsonSchema response responseJsonSchema behavior", "tools[0].function_declarations[0]")
                if function.get("parameters"):
                    self.check_schema(function["parameters"], "parameters")
        calling = camel(camel(body.get("toolConfig") or {}).get("functionCallingConfig") or {})
        demand(calling.get("mode", "AUTO") in ("AUTO", "ANY", "NONE", "VALIDATED"), "mode")
        demand(not calling.get("allowedFunctionNames") or calling["mode"] in ("ANY", "VALIDATED"), "allowed_function_names should only be set when mode is ANY")
        self.check_turns(body["contents"])

    def check_generation(self, generation: dict) -> None:
        temperature = generation.get("temperature")
        demand(temperature is None or 0 <= temperature <= 2, "generation_config.temperature: out of range [0, 2]")
        if generation.get("responseSchema"):
            self.check_schema(generation["responseSchema"], "generation_config.response_schema")
        if generation.get("responseSchema") or generation.get("responseJsonSchema"):
            demand(generation.get("responseMimeType") == "application/json", "Function calling with a response mime type: 'text/plain' is unsupported")
        thinking = known(generation.get("thinkingConfig") or {}, "includeThoughts thinkingBudget thinkingLevel", "generation_config.thinking_config")
        demand("thinkingBudget" not in thinking or "thinkingLevel" not in thinking, "You can only set one of thinking budget and thinking level.")
        if "logprobs" in generation:
            demand(generation.get("responseLogprobs"), "logprobs needs responseLogprobs")

    def check_schema(self, schema: dict, where: str) -> None:
        schema = known(schema, SCHEMA, where)
        for name, below in (schema.get("properties") or {}).items():
            self.check_schema(below, f"{where}.properties[{name}]")
        for below in [schema.get("items"), *(schema.get("anyOf") or [])]:
            if below:
                self.check_schema(below, where)

    def check_turns(self, turns: list) -> None:
        waiting: list[str] = []
        for turn in turns:
            turn = known(turn, "role parts", "contents[0]")
            demand(turn.get("role", "user") in ("user", "model"), "Please use a valid role: user, model.")
            demand(turn.get("parts"), "Unable to submit request because it must include at least one parts field")
            parts = [known(part, PART, "contents[0].parts[0]") for part in turn["parts"]]
            answers = [part["functionResponse"]["name"] for part in parts if "functionResponse" in part]
            demand(sorted(answers) == sorted(waiting), "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.")
            calls = [part for part in parts if "functionCall" in part]
            waiting = [part["functionCall"]["name"] for part in calls]
            demand(not calls or turn.get("role") == "model", "Please ensure that function call turn comes from the model")
            for part in parts:
                self.check_part(part)
            if calls and self.forgets:
                demand(calls[0].get("thoughtSignature"), "Function call is missing a thought_signature in functionCall parts.")
        demand(not waiting, "Please ensure that function response turn comes immediately after a function call turn.")

    def check_part(self, part: dict) -> None:
        demand(part.get("thoughtSignature") in (None, SIGNATURE, *SKIP), "Thought signature is not valid")
        if "functionCall" in part:
            known(part["functionCall"], "name args id", "function_call")
            demand(isinstance(part["functionCall"].get("args", {}), dict), "function_call.args")
        if "functionResponse" in part:
            response = known(part["functionResponse"], "name response id parts willContinue scheduling", "function_response")
            demand(isinstance(response["response"], dict), "function_response.response: Proto field is not repeating, cannot start list.")
        if "inlineData" in part:
            data = known(part["inlineData"], "mimeType data displayName", "inline_data")
            demand(data["mimeType"] in ("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain", "audio/wav"), f"Unsupported MIME type: {data['mimeType']}")
            base64.b64decode(data["data"] if "-" not in data["data"] and "_" not in data["data"] else data["data"].replace("-", "+").replace("_", "/"), validate=True)

    def answered(self, body: dict) -> bool:
        parts = [camel(part) for turn in body["contents"] for part in turn["parts"]]
        return any("functionResponse" in part for part in parts)

    # ---- answers ----

    def usage(self, story: Story) -> dict:
        usage = story.usage
        said = usage["output"] - usage["reasoning"]
        told = {"promptTokenCount": usage["input"], "candidatesTokenCount": said, "totalTokenCount": usage["input"] + usage["output"]}
        told["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage["input"]}]
        if usage["cached"]:
            told["cachedContentTokenCount"] = usage["cached"]
        if usage["reasoning"]:
            told["thoughtsTokenCount"] = usage["reasoning"]
        return told

    def call_parts(self, story: Story) -> list[dict]:
        parts = []
        for at, (name, arguments) in enumerate(story.calls):
            parts.append({"functionCall": {"name": name, "args": json.loads(arguments)}})
            if self.forgets:
                parts[-1]["functionCall"]["id"] = f"fc_{at}x9"
            if at == 0 and (story.reasoning or self.forgets):
                parts[-1]["thoughtSignature"] = SIGNATURE
        return parts

    def wrap(self, candidates: list, story: Story, body: dict, last: bool) -> dict:
        usage = self.usage(story) if last else {"promptTokenCount": story.usage["input"], "totalTokenCount": story.usage["input"]}
        return {"candidates": candidates, "usageMetadata": usage, "modelVersion": body["model"], "responseId": "Un6LacrVMcjUxs0PmJfWoQc"}

    def candidate(self, parts: list, story: Story, index: int, finish: bool) -> dict:
        told: dict = {"index": index}
        if parts:
            told["content"] = {"parts": parts, "role": "model"}
        if finish:
            told["finishReason"] = FINISH[story.finish]
            if story.finish == "content_filter":
                told["safetyRatings"] = [{"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}]
            if story.citation:
                told["groundingMetadata"] = self.grounding(story)
            if story.logprobs:
                told |= self.logprobs(story)
        return told

    def grounding(self, story: Story) -> dict:
        found = story.citation
        segment = {"startIndex": 0, "endIndex": len(story.text.encode()), "text": story.text}
        return {
            "groundingChunks": [{"web": {"uri": found["url"], "title": found["title"]}}],
            "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0], "confidenceScores": [0.9]}],
            "webSearchQueries": ["tower height"],
        }

    def logprobs(self, story: Story) -> dict:
        one = lambda token, value: {"token": token, "tokenId": 7, "logProbability": value}
        chosen = [one(token, value) for token, value, _ in story.logprobs]
        top = [{"candidates": [one(*pair) for pair in others]} for _, _, others in story.logprobs]
        return {"avgLogprobs": -0.25, "logprobsResult": {"chosenCandidates": chosen, "topCandidates": top}}

    def whole(self, story: Story, body: dict) -> bytes:
        candidates = []
        for index, text in enumerate(story.choices or [story.text]):
            parts = [{"text": story.reasoning, "thought": True}] if story.reasoning else []
            parts += [{"text": text}] if text else []
            candidates.append(self.candidate(parts + self.call_parts(story), story, index, True))
        return json.dumps(self.wrap(candidates, story, body, True), indent=2).encode()

    def stream(self, story: Story, body: dict) -> list[bytes]:
        events = [[{"text": piece, "thought": True}] for piece in cut(story.reasoning)]
        events += [[{"text": piece}] for piece in cut(story.text)] if not story.choices else []
        events += [[part] for part in self.call_parts(story)]
        told = [self.wrap([self.candidate(parts, story, 0, False)], story, body, False) for parts in events]
        if story.choices:
            told = [self.wrap([self.candidate([{"text": text}], story, at, False)], story, body, False) for at, text in enumerate(story.choices)]
        last = [self.candidate([{"text": ""}] if story.text else [], story, at, True) for at in range(len(story.choices or [0]))]
        told.append(self.wrap(last, story, body, True))
        return [b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in told]

    def broken(self) -> list[bytes]:
        return [b"data: " + self.fault(503, "The model is overloaded. Please try again later.", None, None)[0] + b"\r\n\r\n"]

    def fault(self, status: int, message: str, code: str | None, param: str | None) -> tuple[bytes, dict]:
        told: dict = {"code": status, "message": message, "status": STATUS.get(status, "UNKNOWN")}
        if status == 429:
            told["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}]
        if status == 401:
            # Google says a bad key with 400.
            told = {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]}
        return json.dumps({"error": told}).encode(), {}

    def story(self, name: str) -> Story:
        return STORIES[name]


class Gemini3(Gemini):
    """The newer models: calls have ids and a signature, which must come back."""

    name, forgets = "gemini3", True
