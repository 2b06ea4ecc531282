"""Google's official client, unchanged but for base_url and api_key, on the embedded model."""

import pytest
from google import genai
from google.genai import errors, types

MODEL = "tiny"


@pytest.fixture(scope="module", params=["v1", "v1beta"])
def gemini(request, gateway):
    options = types.HttpOptions(base_url=f"http://{gateway.data}", api_version=request.param)
    return genai.Client(api_key=gateway.key, http_options=options)


def test_plain(gemini):
    answer = gemini.models.generate_content(model=MODEL, contents="hello")
    assert answer.text == "Hello! I am a tiny test model."
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    usage = answer.usage_metadata
    assert usage.thoughts_token_count > 0
    parts = usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    assert usage.total_token_count == parts


def test_stream(gemini):
    whole = gemini.models.generate_content(model=MODEL, contents="emoji")
    chunks = list(gemini.models.generate_content_stream(model=MODEL, contents="emoji"))
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text == "Here: 🦀 日本語 é ß."
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.total_token_count == whole.usage_metadata.total_token_count


def test_function_calls_and_their_result(gemini):
    weather = types.FunctionDeclaration(
        name="get_weather", parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")})
    )
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[weather])],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    question = types.Content(role="user", parts=[types.Part(text="What is the weather in Paris?")])
    answer = gemini.models.generate_content(model=MODEL, contents=[question], config=config)
    call = answer.function_calls[0]
    assert (call.name, call.args["city"]) == ("get_weather", "Paris")
    result = types.Part.from_function_response(name=call.name, response={"result": "sunny"})
    turns = [question, answer.candidates[0].content, types.Content(role="user", parts=[result])]
    assert gemini.models.generate_content(model=MODEL, contents=turns, config=config).text


def test_count_tokens_and_models(gemini):
    assert gemini.models.count_tokens(model=MODEL, contents="hello there").total_tokens > 0
    assert f"models/{MODEL}" in [model.name for model in gemini.models.list()]


def test_errors_are_the_dialects_own(gemini):
    with pytest.raises(errors.ClientError) as missing:
        gemini.models.generate_content(model="nope", contents="x")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")
