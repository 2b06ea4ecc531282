"""The clients: every way into the gateway, all bound to the EU, while the providers break.

usage: drive.py BASE KEY SECONDS eu | any
"""

import concurrent.futures
import json
import sys
import time
import urllib.error
import urllib.request

base, key, seconds, mode = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def chat(model, stream=False, **more):
    messages = [{"role": "user", "content": "hello"}]
    return "/v1/chat/completions", {"model": model, "stream": stream, "messages": messages, **more}


EU = {"x-stellwerk-require": "processing=EU"}
# Each: path, body, further headers. Those of the route `eu` are bound by it, the others by their header.
WAYS = [
    (*chat("eu"), {}),
    (*chat("eu", stream=True), {}),
    (*chat("cached"), {}),
    (*chat("any"), EU),
    (*chat("any", stream=True), EU),
    (*chat("us/m"), EU),
    (*chat("nowhere/m"), EU),
    ("/v1/embeddings", {"model": "eu-embed", "input": "hello"}, {}),
    ("/v1/responses", {"model": "eu", "input": "hello"}, {}),
    ("/v1/messages", {"model": "eu", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}, {}),
    ("/v1/messages/count_tokens", {"model": "eu", "messages": [{"role": "user", "content": "hello"}]}, {}),
    ("/v1beta/models/eu:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}, {}),
    ("/v1beta/models/eu:countTokens", {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}, {}),
]
if mode == "any":
    WAYS = [(*chat("any"), {})]


def ask(number):
    path, body, headers = WAYS[number % len(WAYS)]
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", **headers}
    request = urllib.request.Request(base + path, json.dumps(body).encode(), headers)
    try:
        with opener.open(request, timeout=60) as answer:
            answer.read()
            return answer.status, answer.headers.get("x-stellwerk-target", "")
    except urllib.error.HTTPError as error:
        error.read()
        return error.code, ""


def run(worker):
    end, number, said = time.monotonic() + seconds, worker, []
    while time.monotonic() < end:
        said.append(ask(number))
        number += 1
        time.sleep(0.03)
    return said


with concurrent.futures.ThreadPoolExecutor(8) as pool:
    said = [one for all in pool.map(run, range(8)) for one in all]
targets, statuses = {}, {}
for status, target in said:
    statuses[status] = statuses.get(status, 0) + 1
    targets[target.partition("/")[0]] = targets.get(target.partition("/")[0], 0) + 1
print(json.dumps({"requests": len(said), "statuses": statuses, "answered by": targets}))
# Every way was understood, and some got their answer: else nothing is proven.
sys.exit(0 if statuses.get(200) and not {400, 401, 404, 500} & set(statuses) else 1)
