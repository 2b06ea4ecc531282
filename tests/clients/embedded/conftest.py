"""A gateway of its own for the tests: the release binary, the tiny R1 model, a fresh data directory, free ports."""

import os
import pathlib
import socket
import subprocess
import time
import urllib.request

import openai
import pytest
import zstandard

ROOT = pathlib.Path(__file__).resolve().parents[3]


class Gateway:
    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        model = directory / "tiny-r1.gguf"
        with open(ROOT / "tests/fixtures/tiny-r1.gguf.zst", "rb") as packed, open(model, "wb") as out:
            zstandard.ZstdDecompressor().copy_stream(packed, out)
        self.data, self.admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.log = open(directory / "log", "wb")
        self.common = ["--data-dir", str(directory / "data"), "--model", f"tiny-r1-test={model}"]
        command = [os.environ["STELLWERK_BIN"], *self.common, "serve", "--listen", self.data, "--admin-listen", self.admin]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=directory)
        self.banner = []
        for line in self.process.stdout:
            self.banner.append(line)
            if "curl" in line:
                break
        else:
            raise RuntimeError("the gateway did not start: " + (directory / "log").read_text())
        self.key = (directory / "data/first-key").read_text().strip()

    def client(self, **options) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"http://{self.data}/v1", **{"api_key": self.key, "max_retries": 0, **options})

    def run(self, *arguments: str) -> str:
        command = [os.environ["STELLWERK_BIN"], *self.common, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.directory).stdout

    def metrics(self) -> str:
        return urllib.request.urlopen(f"http://{self.admin}/metrics").read().decode()

    def request(self, id: str) -> dict:
        import json

        token = (self.directory / "data/admin-token").read_text().strip()
        url = f"http://{self.admin}/admin/v1/requests/{id}"
        for _ in range(250):
            try:
                asked = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})
                return json.load(urllib.request.urlopen(asked))
            except urllib.error.HTTPError:
                time.sleep(0.02)
        raise AssertionError(f"{id} never came to the ledger")

    def workers(self) -> list[int]:
        return children(self.process.pid)


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    if not tasks.exists():
        return []
    return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    yield gateway
    gateway.process.terminate()
    assert gateway.process.wait(timeout=60) == 0, "a clean stop"
    assert not gateway.workers(), "no worker is left behind"


@pytest.fixture
def client(gateway):
    return gateway.client()
