"""The stand: the providers' double, a gateway in front of it, and what a client needs to know of both.

As a program it runs a command on a stand of its own: `python -m double.stand COMMAND...`; the command finds GATEWAY_URL,
GATEWAY_KEY, DOUBLE_URL and ADMIN_URL in its environment.
"""

import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

from .server import Providers, key_of

ROOT = pathlib.Path(__file__).resolve().parents[3]

# The shipped files, with the double's address in place of the real one.
SHIPPED = ["openai", "anthropic", "gemini", "deepseek", "cohere", "bedrock"]
ENVIRONMENT = {
    "openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "gemini": "GEMINI_API_KEY", "deepseek": "DEEPSEEK_API_KEY",
    "cohere": "COHERE_API_KEY", "bedrock": "AWS_BEARER_TOKEN_BEDROCK", "responses": "RESPONSES_API_KEY",
}
BEARER = '{ scheme = "bearer" }'
COPIED = {
    "openai": ("openai-chat", BEARER, ""),
    "responses": ("openai-responses", BEARER, ""),
    "deepseek": ("openai-chat", BEARER, ""),
    "anthropic": ("anthropic", '{ scheme = "header", name = "x-api-key" }', ""),
    "gemini": ("gemini", '{ scheme = "header", name = "x-goog-api-key" }', "/v1beta"),
    "bedrock": ("bedrock", BEARER, ""),
    "cohere": ("cohere", BEARER, ""),
}

# A copy of a shipped provider, whose models can do all that the dialect can. What failed rests for a while: a target
# after failures, so tests of those take a model each; a key that was refused or limited, so tests of those take a copy.
OWN = """
name = "NAME"
title = "NAME"
dialect = "DIALECT"
auth = AUTH
keys = [{ env = "KEY" }]
operator = "US"
parent = "US"
QUIRKS
[[endpoint]]
name = "main"
base_url = "URL"
allow_http = true
processing = ["US"]
guarantee = "none"
cancel_stops_billing = true
source = "the tests"
checked = 2026-01-01

MODELS"""
COPIES = 64
MODELS_EACH = 200


def overlay(directory: pathlib.Path, url: str) -> None:
    directory.mkdir()
    for name in SHIPPED:
        lines = []
        for line in (ROOT / f"providers/{name}.toml").read_text().splitlines():
            if "base_url" in line:
                line = re.sub(r'https://[^/"]+', f"{url}/{name}", line)
            lines.append(line)
            if line.startswith("base_url"):
                lines.append("allow_http = true")
        (directory / f"{name}.toml").write_text("\n".join(lines) + "\n")
    for name, (dialect, auth, path) in COPIED.items():
        shipped = directory / f"{name}.toml"
        quirks = re.search(r"(?s)\n\[quirks\].*?(?=\n\[\[)", shipped.read_text()) if shipped.exists() else None
        text = OWN.replace("DIALECT", dialect).replace("AUTH", auth).replace("KEY", ENVIRONMENT[name])
        text = text.replace("QUIRKS", quirks.group() if quirks else "")
        models = "".join(f'[[model]]\nid = "m{at}"\n' for at in range(MODELS_EACH)) + '[[model]]\nid = "*"\n'
        for copy in range(COPIES):
            own = f"{name}-{copy}"
            here = text.replace("NAME", own).replace("URL", f"{url}/{own}{path}")
            here = here.replace("MODELS", models if copy == 0 else '[[model]]\nid = "*"\n')
            (directory / f"{own}.toml").write_text(here)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stand:
    def __init__(self, directory: pathlib.Path):
        self.providers = Providers()
        self.directory = directory
        overlay(directory / "providers", self.providers.url)
        self.data, self.admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
        (directory / "stellwerk.toml").write_text(
            f'[server]\nlisten = "{self.data}"\n[admin]\nlisten = "{self.admin}"\n[data]\ndir = "data"\n[catalogue]\ndir = "providers"\n'
        )
        keys = {variable: key_of(name) for name, variable in ENVIRONMENT.items()}
        keys["AWS_REGION"] = "eu-central-1"
        self.log = open(directory / "log", "wb")
        command = [os.environ["STELLWERK_BIN"], "--config", str(directory / "stellwerk.toml"), "serve"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=os.environ | keys, cwd=directory)
        for line in self.process.stdout:
            if "curl" in line:
                break
        else:
            raise RuntimeError("the gateway did not start: " + (directory / "log").read_text())
        self.key = (directory / "data/first-key").read_text().strip()
        self.url = f"http://{self.data}"

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=60) == 0, "a clean stop"
        self.providers.shutdown()


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        stand = Stand(pathlib.Path(directory))
        told = {"GATEWAY_URL": stand.url, "GATEWAY_KEY": stand.key, "DOUBLE_URL": stand.providers.url, "ADMIN_URL": f"http://{stand.admin}"}
        try:
            return subprocess.run(sys.argv[1:], env=os.environ | told).returncode
        finally:
            stand.stop()


if __name__ == "__main__":
    sys.exit(main())
