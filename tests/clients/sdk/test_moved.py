"""Conversations that go on with another provider in the midst of a tool loop, as after a failure."""

import itertools

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from kit import MODELS, TOOLS, story

THINK = [model for model in MODELS if not model.startswith(("cohere", "gemini/gemini-2"))]
PAIRS = [pytest.param(*pair, id="-".join(pair)) for pair in itertools.permutations(THINK, 2)]
THEN = story("think-tool").then


@pytest.mark.parametrize("first,second", PAIRS)
def test_chat(stand, mark, first, second):
    create = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, max_retries=0).chat.completions.create
    tools = [{"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in TOOLS.items()]
    given = dict(tools=tools, reasoning_effort="low", max_completion_tokens=9000)
    turns = [{"role": "user", "content": mark("think-tool")}]
    message = create(model=first, messages=turns, **given).choices[0].message
    turns += [message] + [{"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in message.tool_calls]
    assert create(model=second, messages=turns, **given).choices[0].message.content == THEN
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("first,second", PAIRS)
def test_messages(stand, mark, first, second):
    create = anthropic.Anthropic(base_url=stand.url, api_key=stand.key, max_retries=0).messages.with_raw_response.create
    tools = [{"name": name, "input_schema": schema} for name, schema in TOOLS.items()]
    given = dict(tools=tools, thinking={"type": "enabled", "budget_tokens": 2000}, max_tokens=9000)
    turns = [{"role": "user", "content": mark("think-tool")}]
    content = create(model=first, messages=turns, **given).parse().content
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "ok"} for block in content if block.type == "tool_use"]
    turns += [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
    last = create(model=second, messages=turns, **given)
    assert last.parse().content[-1].text == THEN and "refused" not in mark.seen()
    if first.startswith(("gemini", "bedrock")) and second.startswith("anthropic"):
        assert last.headers["x-stellwerk-dropped-params"] == "messages[1].content[0], thinking"
    if first.startswith("openai") and second.startswith("anthropic"):
        assert last.headers["x-stellwerk-dropped-params"] == "thinking", "its answer had none, and it cannot begin amid calls"


@pytest.mark.parametrize("first,second", PAIRS)
def test_responses(stand, mark, first, second):
    create = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, max_retries=0).responses.create
    tools = [{"type": "function", "name": name, "parameters": schema} for name, schema in TOOLS.items()]
    given = dict(tools=tools, reasoning={"effort": "low", "summary": "auto"}, include=["reasoning.encrypted_content"], store=False, max_output_tokens=9000)
    items = [{"role": "user", "content": mark("think-tool")}]
    output = create(model=first, input=items, **given).output
    items += [item.model_dump(exclude_none=True) for item in output]
    items += [{"type": "function_call_output", "call_id": item.call_id, "output": "ok"} for item in output if item.type == "function_call"]
    assert create(model=second, input=items, **given).output_text == THEN
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("first,second", PAIRS)
def test_generate_content(stand, mark, first, second):
    client = genai.Client(api_key=stand.key, http_options=types.HttpOptions(base_url=stand.url))
    declared = [types.FunctionDeclaration(name=name, parameters_json_schema=schema) for name, schema in TOOLS.items()]
    given = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=declared)], max_output_tokens=9000,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2000),
    )
    turns = [types.Content(role="user", parts=[types.Part(text=mark("think-tool"))])]
    answer = client.models.generate_content(model=first, contents=turns, config=given)
    result = lambda call: types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": "ok"}))
    turns += [answer.candidates[0].content, types.Content(role="user", parts=[result(call) for call in answer.function_calls])]
    assert client.models.generate_content(model=second, contents=turns, config=given).text == THEN
    assert "refused" not in mark.seen()
