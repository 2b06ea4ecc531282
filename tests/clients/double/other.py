"""Operations that are no conversations."""

import base64
import json
import struct

USAGE = {"prompt_tokens": 8, "total_tokens": 8}
VECTOR = [0.25, -0.5, 1.0]


def embeddings(body: dict) -> bytes:
    given = body["input"]
    several = isinstance(given, list) and given and not isinstance(given[0], int)
    packed = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
    vector = packed if body.get("encoding_format") == "base64" else VECTOR
    data = [{"object": "embedding", "index": at, "embedding": vector} for at in range(len(given) if several else 1)]
    return json.dumps({"object": "list", "data": data, "model": body["model"], "usage": USAGE}).encode()


def completion(body: dict) -> bytes:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    head = {"id": "cmpl-dbl", "object": "text_completion", "created": 1790000000, "model": body["model"]}
    choice = lambda text, finish: {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    if not body.get("stream"):
        return json.dumps(head | {"choices": [choice("Paris.", "stop")], "usage": usage}).encode()
    told = [head | {"choices": [choice(text, finish)]} for text, finish in (("Par", None), ("is.", None), ("", "stop"))]
    if (body.get("stream_options") or {}).get("include_usage"):
        told.append(head | {"choices": [], "usage": usage})
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in told) + b"data: [DONE]\n\n"
