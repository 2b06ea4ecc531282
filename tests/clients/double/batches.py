"""What providers keep: batches, over at the second look, their files, and answers."""

import base64
import email.parser
import itertools
import json
import re

from .story import Refusal

MARK = re.compile(r"scenario=([a-z0-9-]+)")


def refused(name: str, kind: str) -> tuple[int, dict]:
    message = f"{name}: no such thing"
    return 404, {"type": "error", "error": {"type": "not_found_error", "message": message, "code": None, "param": None}, "kind": kind}


class Kept:
    def __init__(self):
        self.count = itertools.count(1)
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict] = {}
        self.responses: dict[str, bytes] = {}

    def asked(self, method: str, path: str, raw: bytes, kind: str, speaks) -> tuple[int, bytes, str] | None:
        """Status, body and media type; none = that is about something else."""
        found = re.fullmatch(r"/v1/messages/batches(?:/([^/]+))?(?:/(cancel|results))?", path)
        if found:
            return self.sent(self.messages(method, found[1], found[2], raw, speaks))
        found = re.fullmatch(r"/(?:v1/)?(files|batches)(?:/([^/]+))?(?:/(cancel|content))?", path)
        if found:
            which = self.file if found[1] == "files" else self.batch
            return self.sent(which(method, found[2], found[3], raw, kind, speaks))
        found = re.fullmatch(r"/responses/([^/]+)(?:/(input_items|cancel))?", path)
        if found:
            return self.response(method, *found.groups())
        return None

    def response(self, method: str, name: str, tail: str | None) -> tuple[int, bytes, str]:
        kept = self.responses.get(name)
        if kept is None:
            status, body = refused(name, "response")
            return status, json.dumps(body).encode(), "application/json"
        if method == "DELETE":
            del self.responses[name]
            kept = json.dumps({"id": name, "object": "response", "deleted": True}).encode()
        if tail == "input_items":
            item = {"id": "msg_in", "type": "message", "role": "user", "status": "completed", "content": [{"type": "input_text", "text": "hello"}]}
            kept = json.dumps({"object": "list", "data": [item], "first_id": "msg_in", "last_id": "msg_in", "has_more": False}).encode()
        return 200, kept, "application/json"

    @staticmethod
    def sent(told: tuple[int, dict | str]) -> tuple[int, bytes, str]:
        status, body = told
        if isinstance(body, str):
            return status, body.encode(), "application/octet-stream"
        return status, json.dumps(body).encode(), "application/json"

    def answer(self, speaks, body: dict) -> dict:
        """What the model says to one request of a batch."""
        speaks.check(body, {"anthropic-version": "2023-06-01"})
        found = MARK.findall(json.dumps(body))
        return json.loads(speaks.whole(speaks.story(found[-1] if found else "plain"), body))

    # ---- Anthropic ----

    def messages(self, method: str, name: str | None, tail: str | None, raw: bytes, speaks) -> tuple[int, dict | str]:
        if name is None and method == "POST":
            results = []
            for request in json.loads(raw)["requests"]:
                try:
                    result = {"type": "succeeded", "message": self.answer(speaks, request["params"])}
                except Refusal as refusal:
                    error = {"type": "error", "error": {"type": "invalid_request_error", "message": refusal.message}}
                    result = {"type": "errored", "error": error}
                results.append({"custom_id": request["custom_id"], "result": result})
            name = f"msgbatch_{next(self.count):04}"
            self.batches[name] = {"looks": 0, "results": results, "cancelled": False}
            return 200, self.message_batch(name)
        kept = self.batches.get(name or "")
        if kept is None:
            return refused(str(name), "batch")
        if tail == "results":
            return 200, "".join(json.dumps(result) + "\n" for result in kept["results"])
        if tail == "cancel":
            kept["cancelled"], kept["looks"] = True, 9
            kept["results"] = [result | {"result": {"type": "canceled"}} for result in kept["results"]]
        if method == "DELETE":
            del self.batches[name]
            return 200, {"id": name, "type": "message_batch_deleted"}
        kept["looks"] += 1
        return 200, self.message_batch(name)

    def message_batch(self, name: str) -> dict:
        kept = self.batches[name]
        over = kept["looks"] > 1
        counts = {kind: 0 for kind in ("processing", "succeeded", "errored", "canceled", "expired")}
        for result in kept["results"]:
            counts[result["result"]["type"] if over else "processing"] += 1
        return {
            "id": name, "type": "message_batch", "processing_status": "ended" if over else "in_progress",
            "request_counts": counts, "created_at": "2026-11-29T00:00:00Z", "expires_at": "2026-11-30T00:00:00Z",
            "ended_at": "2026-11-29T00:01:00Z" if over else None, "archived_at": None,
            "cancel_initiated_at": "2026-11-29T00:00:30Z" if kept["cancelled"] else None,
            "results_url": f"https://api.anthropic.com/v1/messages/batches/{name}/results" if over else None,
        }

    # ---- OpenAI ----

    def file(self, method: str, name: str | None, tail: str | None, raw: bytes, kind: str, _) -> tuple[int, dict | str]:
        if name is None:
            form = email.parser.BytesParser().parsebytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + raw)
            parts = {part.get_param("name", header="content-disposition"): part.get_payload(decode=True) for part in form.get_payload()}
            if parts.get("purpose") != b"batch":
                return 400, {"error": {"message": "invalid purpose", "type": "invalid_request_error", "param": "purpose", "code": None}}
            name = f"file-{next(self.count):04}"
            self.files[name] = parts["file"].decode()
            return 200, self.file_object(name)
        if name not in self.files:
            return refused(name, "file")
        if tail == "content":
            return 200, self.files[name]
        if method == "DELETE":
            del self.files[name]
            return 200, {"id": name, "object": "file", "deleted": True}
        return 200, self.file_object(name)

    def file_object(self, name: str) -> dict:
        return {
            "id": name, "object": "file", "bytes": len(self.files[name]), "created_at": 1764374400, "filename": "batch.jsonl",
            "purpose": "batch", "status": "processed", "expires_at": None, "status_details": None,
        }

    def batch(self, method: str, name: str | None, tail: str | None, raw: bytes, _: str, speaks) -> tuple[int, dict]:
        if name is None:
            wish = json.loads(raw)
            if wish["input_file_id"] not in self.files:
                return refused(wish["input_file_id"], "file")
            name = f"batch_{base64.b32encode(b'%04d' % next(self.count)).decode().strip('=').lower()}"
            self.batches[name] = {"looks": 0, "wish": wish, "out": None}
            return 200, self.batch_object(name)
        kept = self.batches.get(name)
        if kept is None:
            return refused(name, "batch")
        kept["looks"] += 9 if tail == "cancel" else 1
        if kept["looks"] > 1 and kept["out"] is None and tail != "cancel":
            lines = []
            for line in self.files[kept["wish"]["input_file_id"]].splitlines():
                request = json.loads(line)
                response = {"status_code": 200, "request_id": "req_1", "body": self.answer(speaks, request["body"])}
                lines.append(json.dumps({"id": "batch_req_1", "custom_id": request["custom_id"], "response": response, "error": None}))
            kept["out"] = f"file-{next(self.count):04}"
            self.files[kept["out"]] = "\n".join(lines) + "\n"
        return 200, self.batch_object(name)

    def batch_object(self, name: str) -> dict:
        kept = self.batches[name]
        status = "validating" if kept["looks"] == 0 else "in_progress" if kept["looks"] == 1 else "completed" if kept["out"] else "cancelled"
        return {
            "id": name, "object": "batch", "endpoint": kept["wish"]["endpoint"], "errors": None, "status": status,
            "input_file_id": kept["wish"]["input_file_id"], "completion_window": "24h", "output_file_id": kept["out"],
            "error_file_id": None, "created_at": 1764374400, "in_progress_at": None, "expires_at": None, "finalizing_at": None,
            "completed_at": None, "failed_at": None, "expired_at": None, "cancelling_at": None, "cancelled_at": None,
            "request_counts": {"total": 2, "completed": 2, "failed": 0}, "metadata": kept["wish"].get("metadata"),
        }
