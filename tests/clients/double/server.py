"""The providers: one HTTP server that speaks every dialect, checks what it gets as the real ones do, and remembers it.

What the model says is chosen by the prompt: `scenario=NAME tag=TAG`. `GET /seen/TAG` tells what arrived for a tag.
"""

import http.server
import json
import re
import select
import socket
import threading
import time

from .anthropic import Anthropic
from .batches import Kept
from .bedrock import Bedrock
from .cohere import Cohere
from .gemini import Gemini, Gemini3
from .openai_chat import DeepSeek, OpenAi
from .openai_responses import Responses
from .other import completion, embeddings
from .story import Refusal

MARK = re.compile(rb"scenario=([a-z0-9-]+)(?: tag=([a-z0-9-]+))?")
RATE = {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499", "x-ratelimit-reset-requests": "120ms"}


def key_of(provider: str) -> str:
    """The gateway's own key at a provider: the client's must never arrive."""
    return f"upstream-key-of-{provider}"


def speaker(provider: str, path: str):
    """Who answers a path, and whether as a stream."""
    method = path.rpartition(":")[2] if ":" in path.rpartition("/")[2] else path.rpartition("/")[2]
    if path.endswith("/chat/completions"):
        return (DeepSeek() if provider == "deepseek" else OpenAi()), None
    if path.endswith("/responses"):
        return Responses(), None
    if path.endswith("/v1/messages"):
        return Anthropic(imitates=provider != "anthropic"), None
    if method in ("generateContent", "streamGenerateContent"):
        return (Gemini3() if "gemini-3" in path else Gemini()), method.startswith("stream")
    if method in ("converse", "converse-stream"):
        return Bedrock(), method.endswith("stream")
    if path.endswith("/v2/chat"):
        return Cohere(), None
    return None, None


# How each provider says that a prompt is too long: the first whose name begins so, the last for the others.
TOO_LONG = {
    "anthropic": "prompt is too long: 250000 tokens > 200000 maximum",
    "gemini": "The input token count (250000) exceeds the maximum number of tokens allowed (128000).",
    "cohere": "too many tokens: size limit exceeded by 122000 tokens. Try using shorter or fewer inputs. The limit for this model is 128000 tokens.",
    "": "This model's maximum context length is 128000 tokens. However, your messages resulted in 250000 tokens.",
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    # ---- what arrives ----

    def do_GET(self):
        if self.path.startswith("/seen/"):
            tag = self.path.removeprefix("/seen/")
            self.reply(200, json.dumps([seen for seen in self.server.seen if seen["tag"] == tag]).encode())
        elif not self.kept(b""):
            self.reply(404, b"{}")

    def do_DELETE(self):
        if not self.kept(b""):
            self.reply(404, b"{}")

    def kept(self, raw: bytes) -> bool:
        """Answers what is asked about batches and their files."""
        provider, path = self.path.partition("?")[0].lstrip("/").split("/", 1)
        provider = provider.partition("-")[0]
        speaks = Anthropic() if provider == "anthropic" else OpenAi()
        kind = self.headers.get("content-type") or ""
        try:
            answer = self.server.batches.asked(self.command, "/" + path, raw, kind, speaks)
            if answer is not None:
                self.authorised(speaks, provider)
        except Refusal as refusal:
            self.fault(speaks, refusal.status, refusal.message, refusal.code, refusal.param)
            return True
        if answer is not None:
            status, body, media = answer
            self.reply(status, body, {"content-type": media})
        return answer is not None

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.kept(raw):
            return None
        path, _, query = self.path.partition("?")
        provider, path = path.lstrip("/").split("/", 1)
        provider = provider.partition("-")[0]
        found = MARK.findall(raw)
        scenario, tag = (text.decode() for text in found[-1]) if found else ("plain", "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = {"tag": tag, "provider": provider, "path": "/" + path, "query": query, "headers": headers, "body": None, "raw": raw.decode("utf-8", "replace"), "closed": None}
        self.server.seen.append(seen)
        speaks, stream = speaker(provider, "/" + path)
        try:
            seen["body"] = body = json.loads(raw)
        except ValueError:
            body = None
        if body is None:
            return self.reply(400, b'{"error":{"message":"no JSON"}}')
        if speaks is None:
            return self.other("/" + path, body, provider)
        body.setdefault("model", path.split("/models/")[-1].rpartition(":")[0])
        self.converse(speaks, provider, body, seen, scenario, body.get("stream", False) if stream is None else stream)

    def other(self, path: str, body: dict, provider: str):
        if path.endswith("/embeddings"):
            return self.reply(200, embeddings(body))
        if path.endswith("/completions"):
            streamed = {"content-type": "text/event-stream"} if body.get("stream") else None
            return self.reply(200, completion(body), streamed)
        if path.endswith("/count_tokens"):
            return self.reply(200, b'{"input_tokens":42}')
        if path.endswith(":countTokens"):
            return self.reply(200, b'{"totalTokens":42,"promptTokensDetails":[{"modality":"TEXT","tokenCount":42}]}')
        self.reply(404, b'{"error":{"message":"no such path","type":"invalid_request_error"}}')

    def converse(self, speaks, provider: str, body: dict, seen: dict, scenario: str, stream: bool):
        try:
            self.authorised(speaks, provider)
            speaks.check({name: value for name, value in body.items() if name != "model" or speaks.name not in ("gemini", "gemini3")}, self.headers)
        except Refusal as refusal:
            seen["refused"] = refusal.message
            return self.fault(speaks, refusal.status, refusal.message, refusal.code, refusal.param)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            seen["refused"] = repr(error)
            return self.fault(speaks, 400, f"invalid request: {error!r}", None, None)
        if scenario.startswith("status-"):
            return self.scripted_fault(speaks, scenario)
        if scenario == "garbage":
            return self.reply(200, b"<html><body>It works!</body></html>", {"content-type": "text/html"})
        if scenario == "hang":
            return self.hang(seen)
        story = speaks.story(scenario).calling(body)
        if story.calls and speaks.answered(body):
            story = story.after_results()
        if not stream:
            whole = speaks.whole(story, body)
            if speaks.path == "/responses" and body.get("store", True):
                self.server.batches.responses[json.loads(whole)["id"]] = whole
            return self.cut_whole(whole) if scenario == "cut" else self.reply(200, whole, RATE)
        self.stream(speaks, story, body, seen, scenario)

    def authorised(self, speaks, provider: str):
        given = self.headers.get(speaks.key) or ""
        wanted = key_of(provider)
        if speaks.key == "authorization":
            wanted = f"Bearer {wanted}"
        if speaks.name == "anthropic" and provider == "deepseek":
            given = given or (self.headers.get("authorization") or "").removeprefix("Bearer ")
        if given != wanted:
            raise Refusal(f"Incorrect API key provided: {given}", 401)

    # ---- what is answered ----

    def reply(self, status: int, body: bytes, headers: dict | None = None):
        self.send_response(status)
        for name, value in ({"content-type": "application/json"} | (headers or {})).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fault(self, speaks, status: int, message: str, code, param, headers: dict | None = None):
        body, more = speaks.fault(status, message, code, param)
        if status == 401 and speaks.name.startswith("gemini"):
            status = 400
        self.reply(status, body, more | (headers or {}))

    def scripted_fault(self, speaks, scenario: str):
        kind = scenario.removeprefix("status-")
        if kind == "html":
            return self.reply(502, b"<html><h1>502 Bad Gateway</h1></html>", {"content-type": "text/html"})
        if kind == "quota":
            return self.fault(speaks, 429, "You exceeded your current quota, please check your plan and billing details.", "insufficient_quota", None)
        if kind == "context":
            words = next((words for name, words in TOO_LONG.items() if speaks.name.startswith(name)), TOO_LONG[""])
            return self.fault(speaks, 400, words, "context_length_exceeded", "messages")
        status = int(kind)
        headers = {"retry-after": "7"} if status == 429 and not speaks.name.startswith("gemini") else {}
        self.fault(speaks, status, f"the provider says {status}", None, "temperature" if status == 400 else None, headers)

    def hang(self, seen: dict):
        """Never answers; notices when the other side goes."""
        select.select([self.connection], [], [], 30)
        seen["closed"] = time.time()
        self.close_connection = True

    def cut_whole(self, body: bytes):
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.abort()

    def abort(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def chunk(self, data: bytes):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def stream(self, speaks, story, body: dict, seen: dict, scenario: str):
        self.send_response(200)
        self.send_header("content-type", speaks.media)
        self.send_header("transfer-encoding", "chunked")
        for name, value in RATE.items():
            self.send_header(name, value)
        self.end_headers()
        told = speaks.stream(story, body)
        try:
            if scenario == "slow":
                return self.slow(speaks, story, told, seen)
            if scenario in ("cut", "broken"):
                kept = self.until_text(told, story.pieces[-1])
                for event in kept + (speaks.broken() if scenario == "broken" else []):
                    self.chunk(event)
                return self.abort() if scenario == "cut" else self.chunk(b"")
            if scenario == "drip":
                whole = b"".join(told)
                for at in range(0, len(whole), 7):
                    self.chunk(whole[at : at + 7])
            else:
                for event in told:
                    self.chunk(event)
            self.chunk(b"")
        except OSError:
            seen["closed"] = time.time()
            self.close_connection = True

    def until_text(self, told: list[bytes], piece: str) -> list[bytes]:
        last = max(at for at, event in enumerate(told) if b'"%s"' % piece.encode() in event)
        return told[: last + 1]

    def slow(self, speaks, story, told: list[bytes], seen: dict):
        """Goes on until the other side leaves."""
        begun = self.until_text(told, story.pieces[-1])
        for event in begun:
            self.chunk(event)
        end = time.time() + 30
        while time.time() < end:
            time.sleep(0.05)
            self.chunk(begun[-1])
        self.abort()


class Providers(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict] = []
        self.batches = Kept()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, address):
        pass  # a client that went away
