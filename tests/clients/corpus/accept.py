"""What the gateway sends and answers, held against the types of the official clients.

usage: accept.py DIRECTORY   with requests.jsonl and answers.jsonl, as the test of the recorded traffic writes them
(`STELLWERK_DUMP`): requests of every client dialect translated for every provider dialect, recorded answers translated
for every client dialect. Unknown members count as errors, also where a client would let them pass.

What the types refuse although it is right is listed in ALLOWED, each with its reason; one that no longer occurs is an
error as well.
"""

import collections
import json
import sys
import typing
from pathlib import Path

import anthropic.types
import anthropic.types.message_create_params
import botocore.session
import botocore.validate
import cohere
import ollama
import openai.types
import openai.types.chat.completion_create_params
import openai.types.responses.response_create_params
from google.genai import types as genai
from pydantic import TypeAdapter, ValidationError


def whole(value):
    """Pydantic reads iterables when they are asked for: asks for all of them."""
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items()}
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return value
    return [whole(item) for item in value]


class Typed:
    """A typed dictionary of parameters: its types, and no member that it does not have."""

    def __init__(self, kind):
        self.names = set(typing.get_type_hints(kind, include_extras=True))
        self.adapter = TypeAdapter(kind)

    def __call__(self, body):
        if unknown := set(body) - self.names:
            raise ValueError(f"unknown members: {sorted(unknown)}")
        whole(self.adapter.validate_python(body))


class Anthropic(Typed):
    """The newest client knows the newest version of the API only; the older one, which is asked for by its header, has
    sampling parameters."""

    older = {"temperature": float, "top_p": float, "top_k": int}

    def __call__(self, body):
        for name, kind in self.older.items():
            if name in body:
                TypeAdapter(kind).validate_python(body[name])
        super().__call__({name: value for name, value in body.items() if name not in self.older})


class Gemini:
    """The wire has the members of the client's configuration in other places."""

    parts = {
        "contents": list[genai.Content],
        "systemInstruction": genai.Content,
        "tools": list[genai.Tool],
        "toolConfig": genai.ToolConfig,
        "safetySettings": list[genai.SafetySetting],
        "generationConfig": genai.GenerationConfig,
        "cachedContent": str,
        "labels": dict[str, str],
        "serviceTier": str,
    }

    def __init__(self):
        self.adapters = {name: TypeAdapter(kind) for name, kind in self.parts.items()}

    def __call__(self, body):
        for name, value in body.items():
            if name not in self.adapters:
                raise ValueError(f"unknown member: {name}")
            self.adapters[name].validate_json(json.dumps(value))


class Bedrock:
    def __init__(self):
        model = botocore.session.get_session().get_service_model("bedrock-runtime")
        self.shape = model.operation_model("Converse").input_shape

    def __call__(self, body):
        report = botocore.validate.ParamValidator().validate({"modelId": "m", **body}, self.shape)
        if report.has_errors():
            raise ValueError(report.generate_report())
        self.known(body, self.shape, "")

    def known(self, value, shape, path):
        if shape.type_name == "structure" and isinstance(value, dict):
            # `document` is a structure without members: anything.
            for name, member in value.items():
                if shape.members and name not in shape.members:
                    raise ValueError(f"unknown member: {path}.{name}")
                if shape.members:
                    self.known(member, shape.members[name], f"{path}.{name}")
        elif shape.type_name == "list":
            for item in value:
                self.known(item, shape.member, f"{path}[]")


class Cohere:
    parts = {
        "messages": cohere.ChatMessages,
        "tools": list[cohere.ToolV2],
        "response_format": cohere.ResponseFormatV2,
        "thinking": cohere.Thinking,
        "citation_options": cohere.CitationOptions,
    }
    plain = {"model", "stream", "max_tokens", "temperature", "p", "k", "seed", "stop_sequences", "frequency_penalty",
             "presence_penalty", "logprobs", "tool_choice", "strict_tools", "safety_mode", "priority", "documents"}

    def __init__(self):
        self.adapters = {name: TypeAdapter(kind) for name, kind in self.parts.items()}

    def __call__(self, body):
        for name, value in body.items():
            if name in self.adapters:
                self.adapters[name].validate_python(value)
            elif name not in self.plain:
                raise ValueError(f"unknown member: {name}")


class Ollama:
    # Newer than the client: in the server's documentation.
    newer = {"truncate", "shift"}

    def __call__(self, body):
        kind = ollama._types.ChatRequest
        names = set(kind.model_fields)
        if unknown := set(body) - names - self.newer:
            raise ValueError(f"unknown members: {sorted(unknown)}")
        kind.model_validate({name: value for name, value in body.items() if name in names})


REQUESTS = {
    "openai-chat": Typed(openai.types.chat.completion_create_params.CompletionCreateParamsStreaming),
    "openai-responses": Typed(openai.types.responses.response_create_params.ResponseCreateParamsStreaming),
    "anthropic": Anthropic(anthropic.types.message_create_params.MessageCreateParamsStreaming),
    "gemini": Gemini(),
    "bedrock": Bedrock(),
    "cohere": Cohere(),
    "ollama": Ollama(),
}


def plain(kind):
    """A body of that type, with nothing missing and nothing of a wrong type."""
    adapter = TypeAdapter(kind)
    return lambda text: adapter.validate_json(text)


ANSWERS = {
    ("chat.completions", "json"): plain(openai.types.chat.ChatCompletion),
    ("chat.completions", "sse"): plain(openai.types.chat.ChatCompletionChunk),
    ("responses", "json"): plain(openai.types.responses.Response),
    ("responses", "sse"): plain(openai.types.responses.ResponseStreamEvent),
    ("messages", "json"): plain(anthropic.types.Message),
    ("messages", "sse"): plain(anthropic.types.RawMessageStreamEvent),
    ("generateContent", "json"): plain(genai.GenerateContentResponse),
    ("streamGenerateContent", "sse"): plain(genai.GenerateContentResponse),
    ("completions", "json"): plain(openai.types.Completion),
    ("completions", "sse"): plain(openai.types.Completion),
}


# What a type refuses, by where it goes and a part of what the type says; and why it is right all the same.
ALLOWED = {
    ("openai-completions", "Input should be 'stop', 'length' or 'content_filter'"):
        "chunks before the last have no reason yet, as in the provider's own streams; the type is that of whole answers",
    ("openai-chat", "Input should be 'function'"):
        "a call of a custom tool: the type of chunks has functions only, that of whole answers both",
    ("openai-responses", "ResponseFailedEvent.response.error.code"):
        "the provider's own code of an error; the type lists those of one provider",
    ("gemini", "Data should be valid base64"):
        "an image that whoever recorded it cut short, with dots in the middle",
}


def lines(path):
    with open(path, encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())


def request(one):
    body = one["body"]
    if one["to"] in ("openai-chat", "openai-responses", "anthropic"):
        body = {**body, "stream": True}
    REQUESTS[one["to"]](body)


def answer(one):
    if one["status"] != 200:
        return False
    text = one["response"]["body_text"]
    read = ANSWERS[one["api"], one["wire_format"]]
    if one["wire_format"] == "json":
        read(text)
        return True
    for frame in text.replace("\r\n", "\n").split("\n\n"):
        data = [line[5:].strip() for line in frame.split("\n") if line.startswith("data:")]
        # Signs of life and errors are no members of the streams' types.
        if data and data != ["[DONE]"] and '"type":"ping"' not in data[0] and not data[0].startswith(('{"error"', '{"type":"error"')):
            read("\n".join(data))
    return True


def main(where):
    counts, wrong, unused = collections.Counter(), collections.defaultdict(list), set(ALLOWED)
    for one in lines(where / "requests.jsonl"):
        counts["requests"] += 1
        try:
            request(one)
        except (ValueError, ValidationError) as error:
            wrong[f"{one['from']} -> {one['to']}"].append((one["id"], str(error)))
    for one in lines(where / "answers.jsonl"):
        try:
            counts["answers"] += answer(one)
        except (ValueError, ValidationError) as error:
            client = one["id"].split("|")[1]
            if found := {key for key in ALLOWED if key[0] == client and key[1] in str(error)}:
                unused -= found
                counts["allowed"] += 1
            else:
                wrong[f"to {client}"].append((one["id"], str(error)))
    for pair, found in sorted(wrong.items()):
        print(f"{pair}: {len(found)} refused")
        for id, error in found[:5]:
            print(f"    {id}: {error[:1200]}")
    for client, what in sorted(unused):
        print(f"to {client}: nothing says \"{what}\" any more")
    print(f"{counts['requests']} requests and {counts['answers']} answers are as the clients' types say; "
          f"{counts['allowed']} answers are not, for a reason")
    return 1 if wrong or unused or not counts["requests"] or not counts["answers"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
