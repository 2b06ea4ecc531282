"""Local models come and go with the configuration; answers in progress are finished."""

import os
import subprocess
import time

import openai

from conftest import children, free_port


def test_local_models_come_and_go(gateway, tmp_path):
    data, admin = free_port(), free_port()
    settings = f"""
[server]
listen = "127.0.0.1:{data}"
[admin]
listen = "127.0.0.1:{admin}"
[data]
dir = "data"
"""
    model = f'[[local.model]]\nname = "tiny-r1-test"\npath = "{gateway.directory}/tiny-r1.gguf"\n'
    config = tmp_path / "stellwerk.toml"
    config.write_text(settings + model)
    command = [os.environ["STELLWERK_BIN"], "--config", str(config), "serve"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=tmp_path)
    try:
        assert any("curl" in line for line in process.stdout), (tmp_path / "log").read_text()
        key = (tmp_path / "data/first-key").read_text().strip()
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{data}/v1", api_key=key, max_retries=0)

        def ask(text, **options):
            messages = [{"role": "user", "content": text}]
            return client.chat.completions.create(model="tiny", messages=messages, temperature=0, **options)

        def status():
            try:
                return 200 if ask("hello") else 0
            except openai.APIStatusError as error:
                return error.status_code

        def wait(condition):
            for _ in range(500):
                if condition():
                    return
                time.sleep(0.05)
            raise AssertionError((tmp_path / "log").read_text())

        assert status() == 200
        stream = ask("forever", stream=True, max_tokens=3000)
        first = next(iter(stream))
        assert first and len(children(process.pid)) == 1
        config.write_text(settings)
        wait(lambda: status() == 503)
        rest = [chunk for chunk in stream if chunk.choices]
        assert rest[-1].choices[0].finish_reason == "length", "an answer in progress is finished"
        wait(lambda: not children(process.pid))
        config.write_text(settings + model.replace("tiny-r1.gguf", "nothing.gguf"))
        wait(lambda: "there is no file" in (tmp_path / "log").read_text())
        assert status() == 503 and process.poll() is None
        config.write_text(settings + model)
        wait(lambda: status() == 200)
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0
