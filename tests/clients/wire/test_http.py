"""What clients, browsers and proxies do with HTTP itself, on bare sockets and with curl."""

import gzip
import json
import socket
import subprocess
import time
import urllib.request

import pytest
from kit import story

MODEL = "anthropic/claude-sonnet-4-5"


class Wire:
    """One connection."""

    def __init__(self, stand):
        host, port = stand.data.split(":")
        self.stand, self.socket = stand, socket.create_connection((host, int(port)), timeout=20)
        self.read = self.socket.makefile("rb")

    def send(self, line: str, headers: dict, body: bytes = b"", key: bool = True):
        headers = {"host": self.stand.data} | ({"authorization": f"Bearer {self.stand.key}"} if key else {}) | headers
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.socket.sendall(f"{line}\r\n{head}\r\n".encode() + body)

    def head(self):
        status = self.read.readline().decode().split(" ", 2)
        headers = {}
        while line := self.read.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return int(status[1]), headers, status[0]

    def answer(self, empty: bool = False):
        status, headers, version = self.head()
        if empty:
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.read.readline(), 16):
                body += self.read.read(size)
                self.read.readline()
            self.read.readline()
        elif "content-length" in headers:
            body = self.read.read(int(headers["content-length"]))
        else:
            body = self.read.read() if version == "HTTP/1.0" or headers.get("connection") == "close" else b""
        return status, headers, body

    def post(self, path: str, body: bytes, **headers):
        headers = {"content-type": "application/json", "content-length": str(len(body))} | {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(f"POST {path} HTTP/1.1", headers, body)
        return self.answer()

    def get(self, path: str, method: str = "GET", key: bool = True, **headers):
        self.send(f"{method} {path} HTTP/1.1", {name.replace("_", "-"): value for name, value in headers.items()}, key=key)
        return self.answer(empty=method == "HEAD")


@pytest.fixture
def wire(stand):
    return Wire(stand)


def asked(mark, scenario="plain", **more) -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": mark(scenario)}]} | more).encode()


def text(body: bytes) -> str:
    return json.loads(body)["choices"][0]["message"]["content"]


CHAT = "/v1/chat/completions"


def test_a_connection_lives_on_after_every_kind_of_error(wire, mark):
    errors = [
        (wire.post(CHAT, b"{"), 400),
        (wire.post(CHAT, asked(mark, model="nothing")), 404),
        (wire.get("/v1/nothing"), 404),
        (wire.get(CHAT), 405),
        (wire.get("/v1/models", key=False), 401),
        (wire.post(CHAT, asked(mark), content_encoding="br"), 415),
    ]
    for (status, headers, body), want in errors:
        assert status == want, body
        assert headers["x-request-id"].startswith("req_") and headers["x-should-retry"] == "false"
        assert headers["content-type"] == "application/json" and set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    status, headers, body = wire.post(CHAT, asked(mark))
    assert (status, text(body)) == (200, story("plain").text) and headers["x-request-id"]


def test_every_dialect_has_its_own_errors_and_its_own_name_of_the_request(wire):
    status, headers, body = wire.post("/v1/messages", b"{", anthropic_version="2023-06-01")
    assert (status, json.loads(body)["type"]) == (400, "error") and headers["request-id"] == headers["x-request-id"] == json.loads(body)["request_id"]
    status, headers, body = wire.post("/v1beta/models/x:generateContent", b"{")
    assert (status, json.loads(body)["error"]["status"]) == (400, "INVALID_ARGUMENT") and headers["x-request-id"]
    status, _, body = wire.post("/v1/responses", b"{")
    assert (status, json.loads(body)["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("body", [b"", b" ", b"[]", b"null", b'"x"', b'{"model":1}', b'{"a":1,"a":2}', b"\xff\xfe", b"{" * 5000], ids=str)
def test_bodies_that_are_none(wire, body):
    for path in [CHAT, "/v1/responses", "/v1/messages", "/v1beta/models/x:generateContent", "/v1/embeddings"]:
        status, headers, told = wire.post(path, body)
        assert status in (400, 404), (path, told)
        assert json.loads(told)["error"]["message"] and headers["x-request-id"]


def test_chunked_bodies(wire, mark):
    body = asked(mark)
    wire.send(f"POST {CHAT} HTTP/1.1", {"content-type": "application/json", "transfer-encoding": "chunked"})
    for at in range(0, len(body), 11):
        piece = body[at : at + 11]
        wire.socket.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
    wire.socket.sendall(b"0\r\n\r\n")
    assert wire.answer()[0] == 200


def test_expect_continue(wire, mark):
    body = asked(mark)
    wire.send(f"POST {CHAT} HTTP/1.1", {"content-type": "application/json", "content-length": str(len(body)), "expect": "100-continue"})
    assert wire.head()[0] == 100
    wire.socket.sendall(body)
    assert wire.answer()[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_http_1_0_as_nginx_speaks_it(wire, mark, stream):
    body = asked(mark, stream=stream)
    wire.send(f"POST {CHAT} HTTP/1.0", {"content-type": "application/json", "content-length": str(len(body))}, body)
    status, headers, told = wire.answer()
    assert status == 200 and "transfer-encoding" not in headers
    assert told.endswith(b"data: [DONE]\n\n") if stream else text(told) == story("plain").text


def test_an_offer_to_upgrade_loses_no_body(wire, mark):
    """Java's client offers h2c on every cleartext request."""
    more = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"}
    status, _, body = wire.post(CHAT, asked(mark), **more)
    assert (status, text(body)) == (200, story("plain").text)


@pytest.mark.parametrize("stream", [False, True])
def test_http_2_without_asking(stand, mark, stream):
    out = subprocess.run(
        ["curl", "-sS", "--http2-prior-knowledge", "-w", "\n%{http_version} %{http_code}", "-H", f"Authorization: Bearer {stand.key}", "--data-binary", "@-", stand.url + CHAT],
        input=asked(mark, stream=stream), capture_output=True, timeout=30,
    ).stdout.decode()
    assert out.endswith("\n2 200"), out
    assert ("data: [DONE]" in out) == stream


def test_gzip_bodies_and_curls_own_content_type(wire, mark):
    packed = gzip.compress(asked(mark))
    assert wire.post(CHAT, packed, content_encoding="gzip")[0] == 200
    assert wire.post(CHAT, packed[:-9], content_encoding="gzip")[0] == 400
    assert wire.post(CHAT, asked(mark), content_type="application/x-www-form-urlencoded")[0] == 200
    assert wire.post(CHAT, asked(mark), content_type="application/json; charset=utf-8")[0] == 200


def test_paths_with_and_without_the_version_with_more_slashes_and_queries(wire, mark):
    for path in ["/chat/completions", "//v1//chat/completions/", f"{CHAT}/", f"/openai{CHAT}", f"{CHAT}?api-version=2024-10-21", "/openai/deployments/any/chat/completions?api-version=2024-10-21"]:
        status, _, body = wire.post(path, asked(mark))
        assert status == 200, (path, body)
    for path in ["/models", "/v1/models", "//v1/models/", "/v1/models?limit=1000", "/openai/v1/models"]:
        assert wire.get(path)[0] == 200, path
    body = json.dumps({"model": MODEL, "max_tokens": 99, "messages": [{"role": "user", "content": mark("plain")}]}).encode()
    for path in ["/v1/messages?beta=true", "/anthropic/v1/messages", "/messages", "/v1/v1/messages"]:
        assert wire.post(path, body)[0] == 200, path


def test_keys_in_any_dialects_place(wire, stand, mark):
    body = asked(mark)
    for name in ["x-api-key", "api-key", "x-goog-api-key", "authorization"]:
        value = f"bearer {stand.key}" if name == "authorization" else stand.key
        wire.send(f"POST {CHAT} HTTP/1.1", {"content-type": "application/json", "content-length": str(len(body)), name: value}, body, key=False)
        assert wire.answer()[0] == 200, name
    gemini = json.dumps({"contents": [{"parts": [{"text": mark("plain")}]}]}).encode()
    wire.send(f"POST /v1beta/models/{MODEL}:generateContent?key={stand.key} HTTP/1.1", {"content-length": str(len(gemini))}, gemini, key=False)
    assert wire.answer()[0] == 200


def test_health_and_head(wire):
    assert wire.get("/health", key=False)[0] == 200
    assert wire.get("/health", "HEAD", key=False)[0] == 200
    status, headers, _ = wire.get("/v1/models", "HEAD")
    assert status == 200 and int(headers["content-length"]) > 0
    assert wire.get("/health", key=False)[0] == 200, "nothing of a body came with HEAD"


def test_lists_of_models_in_four_shapes(wire, stand):
    get = lambda query="", **headers: json.loads(wire.get(f"/v1/models{query}", **headers)[2])
    openai = get()
    assert openai["object"] == "list" and all(model["object"] == "model" and isinstance(model["created"], int) and model["owned_by"] for model in openai["data"])
    codex = get("?client_version=0.169.0")
    assert all(model["slug"] and model["display_name"] for model in codex["models"])
    anthropic = get("?limit=1000", anthropic_version="2023-06-01")
    assert {"data", "has_more", "first_id", "last_id"} <= set(anthropic) and all(model["type"] == "model" and model["display_name"] and model["created_at"] for model in anthropic["data"])
    gemini = get(x_goog_api_key=stand.key)
    assert all(model["name"].startswith("models/") and "generateContent" in model["supportedGenerationMethods"] for model in gemini["models"])
    names = [model["id"] for model in openai["data"]]
    assert [model["id"] for model in anthropic["data"]] == names[:1000]
    assert anthropic["has_more"] == (len(names) > 1000)
    status, _, body = wire.get("/v1/models/anthropic%2Fclaude-sonnet-4-5")
    assert (status, json.loads(body)["id"]) == (200, MODEL)


def test_browsers_may_ask(wire, mark):
    status, headers, body = wire.get(CHAT, "OPTIONS", key=False, origin="https://app.example", access_control_request_method="POST", access_control_request_headers="authorization,content-type,x-stainless-lang")
    assert status == 204 and body == b""
    assert headers["access-control-allow-origin"] == "*" and "POST" in headers["access-control-allow-methods"]
    assert {"authorization", "content-type", "x-stainless-lang"} <= set(headers["access-control-allow-headers"].split(","))
    for answer in [wire.post(CHAT, asked(mark), origin="https://app.example"), wire.post(CHAT, b"{", origin="https://app.example"), wire.get("/v1/models", key=False, origin="https://app.example")]:
        assert answer[1]["access-control-allow-origin"] == "*" and "x-request-id" in answer[1]["access-control-expose-headers"]
    assert "access-control-allow-origin" not in wire.post(CHAT, asked(mark))[1]


def test_streams_are_not_held_back(wire, mark):
    """Also where the client says that it could unpack."""
    begun = time.monotonic()
    body = asked(mark, "slow", stream=True)
    wire.send(f"POST {CHAT} HTTP/1.1", {"content-type": "application/json", "content-length": str(len(body)), "accept-encoding": "gzip, deflate, br, zstd"}, body)
    status, headers, _ = wire.head()
    assert status == 200 and "content-encoding" not in headers and headers["x-accel-buffering"] == "no"
    got = b""
    while got.count(b"tick") < 3:
        got += wire.socket.recv(4096)
    assert time.monotonic() - begun < 5
    wire.socket.shutdown(socket.SHUT_RDWR)
    assert mark.closed_within(5)


def test_null_is_absent_and_large_bodies_pass(wire, mark):
    nothing = dict.fromkeys(["temperature", "top_p", "stop", "tools", "tool_choice", "response_format", "max_tokens", "user", "seed", "stream", "stream_options", "logit_bias", "n", "metadata"])
    assert wire.post(CHAT, asked(mark, **nothing))[0] == 200
    large = json.dumps({"model": "anthropic-0/m197", "messages": [{"role": "system", "content": "x" * (9 << 20)}, {"role": "user", "content": mark("plain")}]}).encode()
    assert wire.post(CHAT, large)[0] == 200
    assert len(mark.seen()["raw"]) > 9 << 20


@pytest.mark.parametrize("model", [MODEL, "openai/gpt-5-mini", "gemini/gemini-3.8-flash"])
def test_a_responses_body_at_chat_completions(wire, mark, model):
    """What Cursor sends for some models. It reads chunks of Chat Completions."""
    tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
    body = {"model": model, "input": [{"role": "user", "content": mark("tool")}], "tools": [tool], "stream": True, "instructions": "Be brief."}
    status, _, told = wire.post(CHAT, json.dumps(body).encode())
    assert status == 200, told
    chunks = [json.loads(line[6:]) for line in told.decode().splitlines() if line.startswith("data: {")]
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks) and told.endswith(b"data: [DONE]\n\n")
    assert "get_weather" in json.dumps(chunks) and "refused" not in mark.seen()
    del body["stream"]
    status, _, told = wire.post(CHAT, json.dumps(body).encode())
    assert json.loads(told)["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


def test_paths_of_telemetry_are_answered_at_once(wire):
    begun = time.monotonic()
    for path in ["/api/event_logging/batch", "/v1/telemetry", "/api/claude_code/metrics"]:
        status, headers, body = wire.post(path, b"{}")
        assert status == 404 and json.loads(body)["error"]["code"] == "unknown_path" and headers["x-request-id"]
    assert time.monotonic() - begun < 2


def test_what_may_be_tried_again_says_so(wire, mark):
    limited = wire.post(CHAT, asked(mark, "status-429", model="anthropic-23/x"))
    assert (limited[0], limited[1]["x-should-retry"], limited[1]["retry-after"], limited[1]["retry-after-ms"]) == (429, "true", "7", "7000")
    down = wire.post(CHAT, asked(mark, "status-500", model="anthropic-0/m199"))
    assert down[0] >= 500 and down[1]["x-should-retry"] == "true"
    wrong = wire.post(CHAT, asked(mark, "status-400", model="anthropic-0/m198"))
    assert (wrong[0], wrong[1]["x-should-retry"]) == (400, "false")


def test_metrics_and_health_of_the_other_listener(stand):
    assert b"stellwerk_" in urllib.request.urlopen(f"http://{stand.admin}/metrics", timeout=10).read()
