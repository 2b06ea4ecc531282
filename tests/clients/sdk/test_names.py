"""Names of tools as servers of tools give them, with providers that take few letters; who speaks first and last."""

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from kit import MODELS, but, story

SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
LONG = "mcp__a-server-with-quite-a-long-name__a_tool_with_a_name_that_is_longer_still"
THEN = story("named").then


# The bytes of a client of the provider's own dialect pass, its names with them.
@pytest.mark.parametrize("model", but("openai", "deepseek"))
@pytest.mark.parametrize("name", ["files/read", "db.query", "1st", LONG])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("forced", [False, True])
def test_chat(stand, mark, model, name, stream, forced):
    create = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, max_retries=0).chat.completions.create
    choice = {"tool_choice": {"type": "function", "function": {"name": name}}} if forced else {}
    given = dict(model=model, tools=[{"type": "function", "function": {"name": name, "parameters": SCHEMA}}])
    turns = [{"role": "user", "content": mark("named")}]
    if stream:
        deltas = [chunk.choices[0].delta for chunk in create(messages=turns, stream=True, **given, **choice) if chunk.choices]
        call = next(delta.tool_calls[0] for delta in deltas if delta.tool_calls)
        id, called = call.id, call.function.name
    else:
        call = create(messages=turns, **given, **choice).choices[0].message.tool_calls[0]
        id, called = call.id, call.function.name
    assert called == name
    turns.append({"role": "assistant", "tool_calls": [{"id": id, "type": "function", "function": {"name": name, "arguments": '{"path":"a"}'}}]})
    turns.append({"role": "tool", "tool_call_id": id, "content": "A"})
    assert create(messages=turns, **given).choices[0].message.content == THEN
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_messages(stand, mark, model, stream):
    client = anthropic.Anthropic(base_url=stand.url, api_key=stand.key, max_retries=0)
    given = dict(model=model, max_tokens=900, tools=[{"name": LONG, "input_schema": SCHEMA}])
    turns = [{"role": "user", "content": mark("named")}]
    if stream:
        with client.messages.stream(messages=turns, **given) as events:
            content = events.get_final_message().content
    else:
        content = client.messages.create(messages=turns, **given).content
    call = next(block for block in content if block.type == "tool_use")
    assert call.name == LONG
    turns += [{"role": "assistant", "content": content}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "A"}]}]
    # Cohere's plan is thinking here.
    assert client.messages.create(messages=turns, **given).content[-1].text == THEN
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", but("openai", "responses"))
@pytest.mark.parametrize("stream", [False, True])
def test_responses(stand, mark, model, stream):
    client = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, max_retries=0)
    given = dict(model=model, tools=[{"type": "function", "name": LONG, "parameters": SCHEMA}])
    items = [{"role": "user", "content": mark("named")}]
    if stream:
        with client.responses.stream(input=items, **given) as events:
            output = events.get_final_response().output
    else:
        output = client.responses.create(input=items, **given).output
    call = next(item for item in output if item.type == "function_call")
    assert call.name == LONG
    items += [item.model_dump(exclude_none=True) for item in output]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "A"})
    assert client.responses.create(input=items, **given).output_text == THEN
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_generate_content(stand, mark, model, stream):
    client = genai.Client(api_key=stand.key, http_options=types.HttpOptions(base_url=stand.url))
    declared = [types.FunctionDeclaration(name="db.query", parameters_json_schema=SCHEMA)]
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=declared)], max_output_tokens=900,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    turns = [types.Content(role="user", parts=[types.Part(text=mark("named"))])]
    if stream:
        parts = [part for event in client.models.generate_content_stream(model=model, contents=turns, config=config) for part in getattr(event.candidates[0].content, "parts", None) or []]
    else:
        parts = client.models.generate_content(model=model, contents=turns, config=config).candidates[0].content.parts
    call = next(part.function_call for part in parts if part.function_call)
    assert call.name == "db.query"
    result = types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": "A"}))
    turns += [types.Content(role="model", parts=parts), types.Content(role="user", parts=[result])]
    assert client.models.generate_content(model=model, contents=turns, config=config).text == THEN
    assert "refused" not in mark.seen()


SPOKEN = [*MODELS, "anthropic/claude-opus-5-5", "bedrock/anthropic.claude-opus-4-7"]


@pytest.mark.parametrize("model", SPOKEN)
@pytest.mark.parametrize("last", [False, True])
def test_the_assistant_speaks_first_and_last(stand, mark, model, last):
    client = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, max_retries=0)
    turns = [{"role": "assistant", "content": "How can I help?"}, {"role": "user", "content": mark("plain")}]
    turns += [{"role": "assistant", "content": "Well,"}] if last else []
    answer = client.chat.completions.with_raw_response.create(model=model, messages=turns)
    assert answer.parse().choices[0].message.content == story("plain").text and "refused" not in mark.seen()
    listed = (answer.headers.get("x-stellwerk-dropped-params") or "").split(", ")
    assert ("messages[0].role" in listed) == model.startswith("bedrock")
    assert ("messages[2].role" in listed) == (last and "opus" in model)
    items = [{"type": "message"} | turn for turn in turns]
    assert client.responses.create(model=model, input=items).output_text == story("plain").text
    assert "refused" not in mark.seen()
