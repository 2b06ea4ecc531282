"""What is built on the newest clients: LangChain, pydantic-ai, litellm's SDK, the `llm` command."""

import json
import os
import pathlib
import subprocess
import sys

import pydantic
import pytest
from kit import DOT, MODELS, but, fresh, story


class Person(pydantic.BaseModel):
    """A person."""

    name: str
    age: int


def get_weather(city: str, unit: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def get_time(zone: str) -> str:
    """The time of a zone."""
    return f"noon in {zone}"


# ---- LangChain ----


def langchain(stand, kind, model):
    from langchain_anthropic import ChatAnthropic
    from langchain_openai import ChatOpenAI

    if kind == "anthropic":
        return ChatAnthropic(model=model, base_url=stand.url, api_key=stand.key, max_tokens=5000, max_retries=0)
    return ChatOpenAI(model=model, base_url=f"{stand.url}/v1", api_key=stand.key, max_retries=0, stream_usage=True, use_responses_api=kind == "responses")


KINDS = pytest.mark.parametrize("kind", ["chat", "responses", "anthropic"])


@KINDS
@pytest.mark.parametrize("model", MODELS)
def test_langchain(stand, mark, kind, model):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    chat = langchain(stand, kind, model)
    answer = chat.invoke([("system", "Be brief."), ("user", mark("plain"))])
    assert answer.text == story("plain").text
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (50, 9)
    whole = None
    for chunk in chat.stream(mark("plain")):
        whole = chunk if whole is None else whole + chunk
    assert whole.text == story("plain").text and whole.usage_metadata["total_tokens"] == 59
    able = chat.bind_tools([tool(get_weather), tool(get_time)])
    turns = [HumanMessage(mark("parallel"))]
    turns.append(able.invoke(turns))
    assert [call["name"] for call in turns[-1].tool_calls] == ["get_weather", "get_time"]
    turns += [ToolMessage("ok", tool_call_id=call["id"]) for call in turns[-1].tool_calls]
    assert able.invoke(turns).text == story("parallel").then
    assert "refused" not in mark.seen()


@KINDS
@pytest.mark.parametrize("model", MODELS)
def test_langchain_structured_output(stand, mark, kind, model):
    person = langchain(stand, kind, model).with_structured_output(Person, method="json_schema").invoke(mark("json"))
    assert person == Person(name="Ada", age=36)


@KINDS
def test_langchain_image_and_errors(stand, mark, kind):
    chat = langchain(stand, kind, "gemini/gemini-3.8-flash")
    image = {"type": "image", "source_type": "base64", "data": DOT, "mime_type": "image/png"}
    assert chat.invoke([{"role": "user", "content": [{"type": "text", "text": mark("image")}, image]}]).text == story("image").text
    for scenario in ["cut", "broken"]:
        with pytest.raises(Exception):
            for _ in langchain(stand, kind, fresh("anthropic")).stream(mark(scenario)):
                pass


def test_langchain_embeddings_send_token_numbers_and_read_base64(stand):
    from langchain_openai import OpenAIEmbeddings

    # Its tokenizer's file is fetched from a hub, which tests do without: the numbers are made here.
    class Numbers:
        def encode(self, text, **_):
            return [ord(letter) for letter in text]

        encode_ordinary = encode

    import tiktoken

    before = tiktoken.encoding_for_model
    tiktoken.encoding_for_model = lambda _: Numbers()
    try:
        made = OpenAIEmbeddings(model="openai/text-embedding-3-small", base_url=f"{stand.url}/v1", api_key=stand.key)
        vectors = made.embed_documents(["one", "two"])
    finally:
        tiktoken.encoding_for_model = before
    sent = stand.providers.seen[-1]["body"]
    assert sent["input"] == [[ord(letter) for letter in word] for word in ("one", "two")], sent
    # It scales them to length 1.
    assert [round(value / vectors[0][0], 6) for value in vectors[0]] == [1.0, -2.0, 4.0] and len(vectors) == 2


# ---- pydantic-ai ----


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("kind", ["chat", "responses", "anthropic", "google"])
def test_pydantic_ai(stand, mark, kind, model):
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.google import GoogleProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    openai = OpenAIProvider(base_url=f"{stand.url}/v1", api_key=stand.key)
    used = {
        "chat": lambda: OpenAIChatModel(model, provider=openai),
        "responses": lambda: OpenAIResponsesModel(model, provider=openai),
        "anthropic": lambda: AnthropicModel(model, provider=AnthropicProvider(api_key=stand.key, base_url=stand.url)),
        "google": lambda: GoogleModel(model, provider=GoogleProvider(api_key=stand.key, base_url=stand.url)),
    }[kind]()
    agent = Agent(used, tools=[get_weather, get_time], system_prompt="Be brief.", retries=0)
    told = agent.run_sync(mark("parallel"))
    assert told.output.endswith(story("parallel").then)
    assert "refused" not in mark.seen()
    usage = told.usage() if callable(told.usage) else told.usage
    assert usage.requests == 2 and usage.output_tokens == 18


# ---- litellm's SDK ----


@pytest.mark.parametrize("model", MODELS)
def test_litellm(stand, mark, model):
    import litellm

    for given in [
        {"model": f"openai/{model}", "api_base": f"{stand.url}/v1"},
        {"model": f"anthropic/{model}", "api_base": stand.url},
    ]:
        given |= {"api_key": stand.key, "num_retries": 0, "max_retries": 0}
        answer = litellm.completion(messages=[{"role": "user", "content": mark("plain")}], **given)
        assert answer.choices[0].message.content == story("plain").text and answer.usage.total_tokens == 59
        chunks = list(litellm.completion(messages=[{"role": "user", "content": mark("plain")}], stream=True, **given))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == story("plain").text
        with pytest.raises(litellm.AuthenticationError):
            litellm.completion(messages=[{"role": "user", "content": mark("plain")}], **(given | {"api_key": "nobody"}))
        with pytest.raises(litellm.NotFoundError):
            wrong = given | {"model": given["model"].split("/")[0] + "/nothing"}
            litellm.completion(messages=[{"role": "user", "content": mark("plain")}], **wrong)


# ---- the llm command ----


@pytest.mark.parametrize("model", ["openai/gpt-5-mini", "anthropic/claude-sonnet-4-5", "gemini/gemini-3.8-flash"])
def test_llm(stand, mark, tmp_path, model):
    (tmp_path / "extra-openai-models.yaml").write_text(
        f"- model_id: gate\n  model_name: {model}\n  api_base: {stand.url}/v1\n  api_key_name: gate\n  supports_tools: true\n  supports_schema: true\n  vision: true\n"
    )
    (tmp_path / "keys.json").write_text(json.dumps({"gate": stand.key}))
    command = pathlib.Path(sys.executable).parent / "llm"

    def run(*arguments, prompt):
        environment = os.environ | {"LLM_USER_PATH": str(tmp_path)}
        told = subprocess.run([sys.executable, str(command), "-m", "gate", *arguments, prompt], env=environment, capture_output=True, text=True, timeout=60)
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()

    assert run(prompt=mark("plain")) == story("plain").text
    assert run("--no-stream", prompt=mark("plain")) == story("plain").text
    assert json.loads(run("--schema", "name, age int", prompt=mark("json"))) == {"name": "Ada", "age": 36}
    functions = "def get_weather(city: str, unit: str) -> str:\n    return 'sunny'\n"
    assert run("--functions", functions, prompt=mark("tool")).endswith(story("tool").then)
    assert "refused" not in mark.seen()
