"""The official OpenAI client, unchanged but for base_url and api_key, on the embedded model."""

import json
import os
import signal
import time

import openai
import pytest

MODEL = "tiny"


def ask(client, text, **options):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=MODEL, messages=messages, temperature=0, **options)


def test_plain(client):
    answer = ask(client, "hello")
    choice = answer.choices[0]
    assert choice.message.content == "Hello! I am a tiny test model."
    assert choice.message.reasoning_content == "The user greets me. I should greet back."
    assert choice.finish_reason == "stop"
    usage = answer.usage
    assert usage.completion_tokens_details.reasoning_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert answer._request_id.startswith("req_")


def test_stream_gives_the_same_text_and_usage_only_when_asked(client):
    whole = ask(client, "emoji")
    text, thinking, roles, usage, ids = "", "", 0, None, set()
    for chunk in ask(client, "emoji", stream=True, stream_options={"include_usage": True}):
        ids.add(chunk.id)
        if chunk.usage:
            usage = chunk.usage
            assert chunk.choices == []
        for choice in chunk.choices:
            text += choice.delta.content or ""
            thinking += getattr(choice.delta, "reasoning_content", None) or ""
            roles += choice.delta.role == "assistant"
    assert text == whole.choices[0].message.content == "Here: 🦀 日本語 é ß."
    assert thinking == whole.choices[0].message.reasoning_content
    assert (roles, len(ids)) == (1, 1)
    assert usage == whole.usage
    assert all(chunk.usage is None for chunk in ask(client, "hello", stream=True))


def test_tools_in_a_stream_and_their_result(client):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    name, arguments, finish, call_id = "", "", None, None
    for chunk in client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "What is the weather in Paris?"}], temperature=0, stream=True
    ):
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                call_id = call.id or call_id
                name += call.function.name or ""
                arguments += call.function.arguments or ""
            finish = choice.finish_reason or finish
    assert (name, json.loads(arguments), finish) == ("get_weather", {"city": "Paris"}, "tool_calls")
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    answer = client.chat.completions.create(
        model=MODEL,
        temperature=0,
        messages=[
            {"role": "user", "content": "What is the weather in Paris?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call_id, "content": '{"temp": 21, "sky": "sunny"}'},
        ],
    )
    assert answer.choices[0].message.content == "It is sunny in Paris, 21 degrees."
    assert tools  # definitions are accepted too
    assert client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "hello"}], tools=tools, temperature=0
    ).choices[0].message


def test_length_and_stop(client):
    short = ask(client, "forever", max_tokens=30)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 30)
    stopped = ask(client, "Count to twenty", stop=" five")
    assert stopped.choices[0].message.content == "one two three four"
    assert stopped.choices[0].finish_reason == "stop"


def test_models(client):
    ids = [model.id for model in client.models.list()]
    assert MODEL in ids and "local/tiny-r1-test" in ids
    assert client.models.retrieve("local/tiny-r1-test").owned_by == "local"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


def test_errors(gateway, client):
    with pytest.raises(openai.AuthenticationError) as caught:
        ask(gateway.client(api_key="sk-wrong"), "hello")
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such", messages=[{"role": "user", "content": "x"}])
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "hello", max_tokens=-1)
    assert caught.value.param == "max_tokens"
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "hello", logit_bias={"1": 5})
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "logit_bias")
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "hello", n=2)
    assert caught.value.param == "n"
    assert ask(client, "hello").choices[0].message.content, "and it goes on serving"


def test_headers_ledger_and_reports(gateway, client):
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "capital of France"}], temperature=0
    )
    assert raw.headers["x-stellwerk-target"] == "local/tiny-r1-test"
    assert raw.headers["x-stellwerk-route"] == "tiny"
    cost, baseline = (raw.headers[f"x-stellwerk-{name}"] for name in ("cost", "baseline-cost"))
    assert cost.endswith(" USD") and baseline.endswith(" USD")
    row = gateway.request(raw.headers["x-request-id"])
    assert f"{row['cost_usd']} USD" == cost and f"{row['baseline']['cost_usd']} USD" == baseline
    attempt = row["attempts"][0]
    assert (attempt["basis"], attempt["outcome"], attempt["processing"]) == ("counted", "completed", "local")
    assert 'stellwerk_tokens_total{bucket="reasoning",model="tiny-r1-test",provider="local",route="tiny"}' in gateway.metrics()
    report = json.loads(gateway.run("report", "savings", "--json"))
    assert report["total"]["requests"] >= 1 and float(report["total"]["savings"]) > 0
    assert report["baselines"][0]["retired"] == "2026-10-23"
    assert "o1" in gateway.run("report", "savings")


def test_a_client_that_goes_away_is_settled_by_what_it_got(gateway, client):
    stream = ask(client, "forever", stream=True, max_tokens=3000)
    for number, _ in enumerate(stream):
        if number == 20:
            break
    id = stream.response.headers["x-request-id"]
    stream.close()
    row = gateway.request(id)
    assert row["attempts"][0]["outcome"] == "cancelled"
    assert 0 < row["attempts"][0]["usage"]["output"] < 2500
    assert ask(client, "hello").choices[0].finish_reason == "stop"


def test_two_at_once(gateway):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(gateway.client(), "hello").choices[0].message.content, range(8)))
    assert set(answers) == {"Hello! I am a tiny test model."}


def test_a_dead_worker_ends_the_stream_with_an_error_and_comes_back(gateway, client):
    stream = ask(client, "forever", stream=True, max_tokens=3000)
    id = stream.response.headers["x-request-id"]
    with pytest.raises(openai.APIError):
        for number, _ in enumerate(stream):
            if number == 20:
                for pid in gateway.workers():
                    os.kill(pid, signal.SIGKILL)
    row = gateway.request(id)
    assert (row["attempts"][0]["outcome"], row["attempts"][0]["basis"]) == ("truncated", "counted")
    assert row["attempts"][0]["usage"]["output"] > 0
    for _ in range(100):
        try:
            assert ask(client, "hello").choices[0].message.content
            return
        except openai.APIStatusError as error:
            assert error.status_code in (502, 503), error
            time.sleep(0.2)
    raise AssertionError("the worker never came back")


def test_a_prompt_that_is_longer_than_it_looks(client):
    # Each digit is a token: three times what four bytes a token would give.
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "1" * 12_000)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    assert "4096" in caught.value.message
