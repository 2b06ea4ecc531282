"""The Responses API of the official OpenAI client, on the embedded model."""

import openai
import pytest

MODEL = "tiny"


def test_plain(client):
    answer = client.responses.create(model=MODEL, input="hello", temperature=0)
    assert answer.output_text == "Hello! I am a tiny test model."
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.status == "completed"
    assert answer.usage.output_tokens_details.reasoning_tokens > 0
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_stream_ends_with_completed_and_counts_on(client):
    numbers, text, kinds = [], "", []
    for event in client.responses.create(model=MODEL, input="emoji", temperature=0, stream=True):
        numbers.append(event.sequence_number)
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type == "response.completed":
            assert event.response.output_text == text and event.response.usage.total_tokens > 0
    assert text == "Here: 🦀 日本語 é ß."
    assert numbers == list(range(len(numbers)))
    assert (kinds[0], kinds[1], kinds[-1]) == ("response.created", "response.in_progress", "response.completed")


def test_function_calls_and_their_output(client):
    tools = [{"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}, "strict": False}]
    asked = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = client.responses.create(model=MODEL, input=asked, tools=tools, temperature=0)
    call = answer.output[-1]
    assert (call.type, call.name) == ("function_call", "get_weather")
    turns = asked + [item.model_dump() for item in answer.output]
    turns.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    assert client.responses.create(model=MODEL, input=turns, tools=tools, temperature=0).status == "completed"


def test_what_needs_state_at_a_provider_is_refused_by_name(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model=MODEL, input="hello", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError) as gone:
        client.responses.retrieve("resp_1")
    assert gone.value.code == "response_not_kept"


def test_legacy_completions(client):
    answer = client.completions.create(model=MODEL, prompt="hello", temperature=0, max_tokens=100)
    assert answer.choices[0].text == "Hello! I am a tiny test model."
    chunks = client.completions.create(model=MODEL, prompt="hello", temperature=0, max_tokens=100, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == answer.choices[0].text
