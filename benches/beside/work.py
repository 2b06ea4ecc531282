"""Some thousand requests of all kinds, mostly of the most frequent ones: what the profile of a guided build counts.

Runs on a stand of the tests (`python3 -m double.stand python3 work.py`), needs nothing but Python, and fails where the
gateway does not answer as it should: a profile of errors would be worth nothing.
"""

import collections
import concurrent.futures
import http.client
import json
import os
import random
import sys
import time
import urllib.parse

URL = urllib.parse.urlsplit(os.environ["GATEWAY_URL"])
KEY = os.environ["GATEWAY_KEY"]
SECONDS = float(os.environ.get("SECONDS_OF_WORK", "40"))
THREADS = 8

MODELS = {
    "chat": "openai/gpt-5-mini",
    "responses": "responses-0/gpt-5",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.5-flash",
    "deepseek": "deepseek/deepseek-flash",
    "bedrock": "bedrock/anthropic.claude-sonnet-4-5",
    "cohere": "cohere/command-a",
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}, "required": ["city", "unit"]}
FILLER = "The quick brown fox jumps over the lazy dog, and says “nothing” of it; "


def prompt(story: str, size: int) -> str:
    return f"scenario={story} " + FILLER * (size // len(FILLER))


def chat(model: str, story: str, stream: bool, size: int):
    body = {"model": model, "messages": [{"role": "system", "content": "You help."}, {"role": "user", "content": prompt(story, size)}]}
    if story == "tool":
        body["tools"] = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return "/v1/chat/completions", body


def responses(model: str, story: str, stream: bool, size: int):
    body = {"model": model, "input": prompt(story, size), "stream": stream}
    if story == "tool":
        body["tools"] = [{"type": "function", "name": "get_weather", "parameters": SCHEMA}]
    return "/v1/responses", body


def anthropic(model: str, story: str, stream: bool, size: int):
    body = {"model": model, "max_tokens": 500, "stream": stream, "messages": [{"role": "user", "content": prompt(story, size)}]}
    if story == "tool":
        body["tools"] = [{"name": "get_weather", "input_schema": SCHEMA}]
    return "/v1/messages", body


def gemini(model: str, story: str, stream: bool, size: int):
    body = {"contents": [{"role": "user", "parts": [{"text": prompt(story, size)}]}]}
    if story == "tool":
        body["tools"] = [{"functionDeclarations": [{"name": "get_weather", "parameters": SCHEMA}]}]
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{method}", body


CLIENTS = {"chat": chat, "responses": responses, "anthropic": anthropic, "gemini": gemini}
OWN = {"chat": ["chat", "deepseek"], "responses": ["responses"], "anthropic": ["anthropic"], "gemini": ["gemini"]}


def choose(dice: random.Random):
    """Half of the requests are plain ones of OpenAI's clients at providers of their dialect."""
    if dice.random() < 0.5:
        client, at, story = "chat", "chat", "plain"
        size = dice.choices([800, 10_000, 100_000, 1_000_000], [85, 10, 4, 1])[0]
    else:
        client = dice.choice(list(CLIENTS))
        at = dice.choice(OWN[client] if dice.random() < 0.4 else list(MODELS))
        story = dice.choice(["plain", "plain", "tool"])
        size = dice.choices([800, 10_000, 100_000], [85, 13, 2])[0]
    stream = dice.random() < 0.35
    return f"{client} at {at}{', streamed' if stream else ''}", CLIENTS[client](MODELS[at], story, stream, size)


def work(seed: int) -> collections.Counter:
    """Works for the time; what it did, by kind. The first request that goes wrong ends it."""
    until, done = time.monotonic() + SECONDS, collections.Counter()
    dice = random.Random(seed)
    line = http.client.HTTPConnection(URL.hostname, URL.port, timeout=60)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json", "anthropic-version": "2023-06-01"}
    while time.monotonic() < until:
        kind, (path, body) = choose(dice)
        line.request("POST", path, json.dumps(body, ensure_ascii=False).encode(), headers)
        answer = line.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{kind}: {answer.status} {said[:300]!r}")
        done[kind] += 1
    return done


def main() -> None:
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        done = sum(pool.map(work, range(THREADS)), collections.Counter())
    print(f"{sum(done.values())} requests of {len(done)} kinds", file=sys.stderr)


if __name__ == "__main__":
    main()
