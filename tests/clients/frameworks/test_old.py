"""What is built on the older clients: LlamaIndex, instructor."""

import pydantic
import pytest
from kit import MODELS, story


class Person(pydantic.BaseModel):
    """A person."""

    name: str
    age: int


@pytest.mark.parametrize("model", MODELS)
def test_llama_index(stand, mark, model):
    from llama_index.core.llms import ChatMessage
    from llama_index.core.tools import FunctionTool
    from llama_index.llms.openai_like import OpenAILike

    def get_weather(city: str, unit: str) -> str:
        """The weather of a city."""
        return "sunny"

    like = OpenAILike(model=model, api_base=f"{stand.url}/v1", api_key=stand.key, is_chat_model=True, is_function_calling_model=True, max_retries=0)
    asked = [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content=mark("plain"))]
    assert like.chat(asked).message.content == story("plain").text
    assert "".join(chunk.delta or "" for chunk in like.stream_chat(asked)) == story("plain").text
    answer = like.chat_with_tools([FunctionTool.from_defaults(get_weather)], user_msg=mark("tool"))
    calls = like.get_tool_calls_from_response(answer)
    assert [(call.tool_name, call.tool_kwargs) for call in calls] == [("get_weather", {"city": "Paris", "unit": "celsius"})]
    legacy = OpenAILike(model=model, api_base=f"{stand.url}/v1", api_key=stand.key, is_chat_model=False, max_retries=0)
    assert legacy.complete(mark("plain")).text in (story("plain").text, "Paris.")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA"])
def test_instructor(stand, mark, model, mode):
    import instructor
    import openai

    client = openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, max_retries=0)
    if mode == "JSON_SCHEMA":
        told = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)
        asked = [{"role": "user", "content": mark("json")}]
        person = told.chat.completions.create(model=model, response_model=Person, messages=asked, max_retries=0)
        assert (person.name, person.age) == ("Ada", 36)
        return

    class get_weather(pydantic.BaseModel):
        """The weather."""

        city: str
        unit: str

    told = instructor.from_openai(client, mode=instructor.Mode.TOOLS)
    asked = [{"role": "user", "content": mark("tool")}]
    assert told.chat.completions.create(model=model, response_model=get_weather, messages=asked, max_retries=0).city == "Paris"
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-4-5", "openai/gpt-5-mini"])
def test_instructor_on_anthropics_client(stand, mark, model):
    import anthropic
    import instructor

    class get_weather(pydantic.BaseModel):
        """The weather."""

        city: str
        unit: str

    client = anthropic.Anthropic(base_url=stand.url, api_key=stand.key, max_retries=0)
    told = instructor.from_anthropic(client, mode=instructor.Mode.ANTHROPIC_TOOLS)
    asked = [{"role": "user", "content": mark("tool")}]
    assert told.messages.create(model=model, response_model=get_weather, messages=asked, max_tokens=500, max_retries=0).city == "Paris"
