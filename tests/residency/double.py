"""A provider of one region, in its network namespace: OpenAI's dialect, well or broken as its schedule has it.

usage: double.py SEED        listens on port 8000; SEED 0 is always well
"""

import http.server
import json
import random
import socket
import sys
import time

SEED = int(sys.argv[1])
FAULTS = ["500", "429", "garbage", "reset", "stall", "cut", "401"]
# Each spell lasts so long, and what it brings is the same in every run. Regions have seeds of their own, so that now one
# is broken, now all of them.
SPELL = 1.5
START = time.monotonic()


def fault():
    if SEED == 0:
        return None
    dice = random.Random(SEED * 1_000_003 + int((time.monotonic() - START) / SPELL))
    return dice.choice(FAULTS) if dice.random() < 0.5 else None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, status, body, kind="application/json", headers=()):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind = fault()
        if kind in ("500", "429", "401"):
            after = [("retry-after", "1")] if kind == "429" else []
            return self.reply(int(kind), json.dumps({"error": {"message": f"scripted {kind}"}}).encode(), headers=after)
        if kind == "garbage":
            return self.reply(200, b"<html>busy</html>", "text/html")
        if kind == "reset":
            self.close_connection = True
            return self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if kind == "stall":
            time.sleep(3)
            self.close_connection = True
            return None
        if self.path.endswith("/embeddings"):
            data = [{"object": "embedding", "index": 0, "embedding": [0.25, 0.5]}]
            answer = {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
            return self.reply(200, json.dumps(answer).encode())
        usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        said = {"id": "c", "created": 1, "model": asked["model"], "usage": usage}
        if not asked.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": "well"}, "finish_reason": "stop"}
            return self.reply(200, json.dumps({**said, "object": "chat.completion", "choices": [choice]}).encode())
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for delta, finish in [({"content": "well"}, None), ({}, "stop")]:
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            chunk = {**said, "object": "chat.completion.chunk", "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
            if kind == "cut":
                return None
        self.wfile.write(b"data: [DONE]\n\n")


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


Server(("0.0.0.0", 8000), Handler).serve_forever()
