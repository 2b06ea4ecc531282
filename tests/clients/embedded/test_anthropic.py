"""The official Anthropic client, unchanged but for base_url and api_key, on the embedded model."""

import anthropic
import pytest

MODEL = "tiny"


@pytest.fixture(scope="module")
def claude(gateway):
    return anthropic.Anthropic(base_url=f"http://{gateway.data}", api_key=gateway.key, max_retries=0)


def ask(claude, text, **options):
    return claude.messages.create(model=MODEL, max_tokens=200, messages=[{"role": "user", "content": text}], **options)


def test_plain(claude):
    message = ask(claude, "hello")
    kinds = [block.type for block in message.content]
    assert kinds == ["thinking", "text"], message
    assert message.content[1].text == "Hello! I am a tiny test model."
    assert (message.stop_reason, message.model, message.role) == ("end_turn", MODEL, "assistant")
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    assert message._request_id.startswith("req_")


def test_stream_accumulates_to_the_same_message(claude):
    whole = ask(claude, "emoji")
    options = dict(model=MODEL, max_tokens=200, messages=[{"role": "user", "content": "emoji"}])
    with claude.messages.stream(**options) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[1].text == "Here: 🦀 日本語 é ß."
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_tool_use(claude):
    tools = [{"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}]
    message = ask(claude, "What is the weather in Paris?", tools=tools)
    call = message.content[-1]
    assert (message.stop_reason, call.type, call.name) == ("tool_use", "tool_use", "get_weather")
    assert call.input["city"] == "Paris"
    with claude.messages.stream(
        model=MODEL, max_tokens=200, messages=[{"role": "user", "content": "What is the weather in Paris?"}], tools=tools
    ) as stream:
        assert stream.get_final_message().content[-1].input == call.input
    answer = claude.messages.create(
        model=MODEL,
        max_tokens=200,
        messages=[
            {"role": "user", "content": "What is the weather in Paris?"},
            {"role": "assistant", "content": [block.model_dump() for block in message.content]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]},
        ],
        tools=tools,
    )
    assert answer.stop_reason == "end_turn"


def test_count_tokens_and_models(claude):
    counted = claude.messages.count_tokens(model=MODEL, messages=[{"role": "user", "content": "hello"}])
    assert counted.input_tokens > 0
    models = claude.models.list()
    assert MODEL in [model.id for model in models.data] and not models.has_more


def test_errors_are_the_dialects_own(claude, gateway):
    with pytest.raises(anthropic.NotFoundError) as missing:
        claude.messages.create(model="nope", max_tokens=5, messages=[{"role": "user", "content": "x"}])
    assert missing.value.body["error"]["type"] == "not_found_error"
    assert missing.value.body["request_id"].startswith("req_")
    stranger = anthropic.Anthropic(base_url=f"http://{gateway.data}", api_key="nobody", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError):
        ask(stranger, "hello")
    with pytest.raises(anthropic.BadRequestError) as wrong:
        claude.messages.create(model=MODEL, max_tokens=5, messages=[])
    assert wrong.value.body["error"]["param"] == "messages"


def test_unknown_betas_and_server_tools_do_not_fail(claude):
    message = claude.beta.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=[{"role": "user", "content": "hello"}],
        betas=["something-2027-01-01"],
        tools=[{"type": "web_search_20250305", "name": "web_search"}],
        extra_body={"context_management": {"edits": []}},
    )
    assert message.content[-1].text == "Hello! I am a tiny test model."
    raw = claude.messages.with_raw_response.create(
        model=MODEL,
        max_tokens=100,
        messages=[{"role": "user", "content": "hello"}],
        extra_body={"context_management": {"edits": []}},
    )
    assert "context_management" in raw.headers["x-stellwerk-dropped-params"]
