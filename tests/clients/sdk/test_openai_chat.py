"""OpenAI's client on Chat Completions, against every provider dialect."""

import json

import openai
import pytest
from kit import arguments, but, DOT, FAILING, fresh, MODELS, PERSON, story, TOOLS

TOOL_LIST = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": schema}} for name, schema in TOOLS.items()
]


@pytest.fixture(scope="module")
def client(stand):
    return openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, max_retries=0)


def say(text):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def usage_of(told, name):
    expected = story(name).usage
    assert (told.prompt_tokens, told.completion_tokens) == (expected["input"], expected["output"])
    assert told.total_tokens == expected["input"] + expected["output"]
    assert (told.prompt_tokens_details.cached_tokens if told.prompt_tokens_details else 0) == expected["cached"]


class Streamed:
    """A stream put together, and checked while it comes."""

    def __init__(self, chunks):
        self.text, self.thinking, self.refusal = "", "", ""
        self.calls, self.roles, self.finishes, self.ids, self.models, self.usage, self.logprobs, self.texts = {}, 0, [], set(), set(), [], [], {}
        for chunk in chunks:
            assert chunk.object == "chat.completion.chunk"
            self.ids.add(chunk.id)
            self.models.add(chunk.model)
            if chunk.usage:
                assert chunk.choices == [], "usage has a chunk of its own"
                self.usage.append(chunk.usage)
            for choice in chunk.choices:
                self.choice(choice)
        assert len(self.ids) == 1 and "" not in self.ids and len(self.models) == 1
        assert self.roles == 1 or self.roles == len(self.texts)

    def choice(self, choice):
        delta = choice.delta
        self.texts[choice.index] = self.texts.get(choice.index, "") + (delta.content or "")
        self.text += delta.content or ""
        self.thinking += getattr(delta, "reasoning_content", None) or ""
        self.roles += delta.role == "assistant"
        if choice.finish_reason:
            self.finishes.append(choice.finish_reason)
        else:
            assert not self.finishes or len(self.texts) > 1, "nothing comes after the finish"
        if choice.logprobs:
            self.logprobs += choice.logprobs.content or []
        for call in delta.tool_calls or []:
            if call.index not in self.calls:
                assert call.id and call.function.name and call.type == "function"
                self.calls[call.index] = {"id": call.id, "name": call.function.name, "arguments": ""}
            else:
                assert call.id in (None, "", self.calls[call.index]["id"])
            self.calls[call.index]["arguments"] += call.function.arguments or ""


@pytest.mark.parametrize("model", MODELS)
def test_plain(client, mark, model):
    answer = client.chat.completions.create(model=model, messages=say(mark("plain")))
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", story("plain").text, "stop")
    assert not choice.message.tool_calls and answer.object == "chat.completion" and answer.id and answer.created > 0
    assert len(answer.choices) == 1 and choice.index == 0
    usage_of(answer.usage, "plain")
    assert answer._request_id.startswith("req_")
    assert "refused" not in mark.seen() and mark.count() == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("asked", [True, False])
def test_stream(client, mark, model, asked):
    options = {"stream_options": {"include_usage": True}} if asked else {}
    got = Streamed(client.chat.completions.create(model=model, messages=say(mark("plain")), stream=True, **options))
    assert (got.text, got.finishes) == (story("plain").text, ["stop"])
    assert len(got.usage) == asked
    for usage in got.usage:
        usage_of(usage, "plain")


@pytest.mark.parametrize("model", MODELS)
def test_raw_stream_has_one_done_and_it_is_the_last_word(client, mark, model):
    with client.chat.completions.with_streaming_response.create(model=model, messages=say(mark("tool")), tools=TOOL_LIST, stream=True) as raw:
        lines = [line for line in raw.iter_lines() if line and not line.startswith(":")]
        assert raw.headers["content-type"].startswith("text/event-stream")
        assert raw.headers["x-request-id"].startswith("req_")
    assert lines.count("data: [DONE]") == 1 and lines[-1] == "data: [DONE]"
    for line in lines[:-1]:
        chunk = json.loads(line.removeprefix("data: "))
        assert chunk["id"] and chunk["object"] == "chat.completion.chunk" and chunk["created"] > 0 and chunk["choices"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scenario", ["tool", "parallel", "no-arguments", "big-number"])
def test_tool_loop(client, mark, model, scenario):
    turns = say(mark(scenario))
    answer = client.chat.completions.create(model=model, messages=turns, tools=TOOL_LIST)
    choice = answer.choices[0]
    # What Cohere's models say before they call is their plan: thinking.
    said = choice.message.content or getattr(choice.message, "reasoning_content", None) or ""
    assert choice.finish_reason == "tool_calls" and said == story(scenario).text
    calls = choice.message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        (name, json.loads(raw)) for name, raw in story(scenario).calls
    ]
    assert all(isinstance(call.id, str) and call.id and call.type == "function" for call in calls)
    assert len({call.id for call in calls}) == len(calls)
    turns.append(choice.message)
    turns += [{"role": "tool", "tool_call_id": call.id, "content": f'{{"of": "{call.function.name}"}}'} for call in calls]
    last = client.chat.completions.create(model=model, messages=turns, tools=TOOL_LIST)
    assert (last.choices[0].message.content, last.choices[0].finish_reason) == (story(scenario).then, "stop")
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scenario", ["tool", "parallel", "no-arguments", "drip"])
def test_tools_in_a_stream_and_the_loop(client, mark, model, scenario):
    turns = say(mark(scenario))
    got = Streamed(client.chat.completions.create(model=model, messages=turns, tools=TOOL_LIST, stream=True))
    assert (got.text or got.thinking).endswith(story(scenario).text) and got.finishes == ["tool_calls"]
    assert sorted(got.calls) == list(range(len(story(scenario).calls)))
    assert [json.loads(call["arguments"]) for call in got.calls.values()] == arguments(scenario)
    assert [call["name"] for call in got.calls.values()] == [name for name, _ in story(scenario).calls]
    assert len({call["id"] for call in got.calls.values()}) == len(got.calls)
    calls = [{"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}} for call in got.calls.values()]
    turns.append({"role": "assistant", "content": got.text or None, "tool_calls": calls})
    turns += [{"role": "tool", "tool_call_id": call["id"], "content": [{"type": "text", "text": "ok"}]} for call in calls]
    last = Streamed(client.chat.completions.create(model=model, messages=turns, tools=TOOL_LIST, stream=True))
    assert (last.text, last.finishes) == (story(scenario).then, ["stop"])


@pytest.mark.parametrize("model", but("openai", "deepseek"))
@pytest.mark.parametrize("stream", [False, True])
def test_one_call_at_most_where_the_provider_has_no_word_for_it(client, mark, model, stream):
    turns = say(mark("parallel"))
    given = dict(model=model, tools=TOOL_LIST, parallel_tool_calls=False)
    if stream:
        calls = list(Streamed(client.chat.completions.create(messages=turns, stream=True, **given)).calls.values())
    else:
        made = client.chat.completions.create(messages=turns, **given).choices[0].message.tool_calls
        calls = [{"id": call.id, "name": call.function.name, "arguments": call.function.arguments} for call in made]
    assert [call["name"] for call in calls] == ["get_weather"]
    call = {"id": calls[0]["id"], "type": "function", "function": {"name": calls[0]["name"], "arguments": calls[0]["arguments"]}}
    turns += [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "tool_call_id": call["id"], "content": "ok"}]
    assert client.chat.completions.create(messages=turns, **given).choices[0].message.content == story("parallel").then
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
def test_tool_ids_of_another_provider(client, mark, model):
    """A conversation that began elsewhere: ids with characters or lengths that not every provider takes."""
    strange = "call.with:strange/characters|" + "x" * 30
    call = {"id": strange, "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris","unit":"celsius"}'}}
    turns = [*say(mark("tool")), {"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "tool_call_id": strange, "content": "sunny"}]
    if model.startswith(("openai", "deepseek")):
        pytest.skip("bytes of the same dialect pass")
    answer = client.chat.completions.create(model=model, messages=turns, tools=TOOL_LIST)
    assert answer.choices[0].message.content == story("tool").then, mark.seen()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("choice", ["auto", "required", "none", {"type": "function", "function": {"name": "get_weather"}}], ids=str)
def test_tool_choice(client, mark, model, choice):
    if model.startswith("cohere") and isinstance(choice, dict):
        pass
    client.chat.completions.create(model=model, messages=say(mark("plain")), tools=TOOL_LIST, tool_choice=choice)
    assert "refused" not in mark.seen()
    body = mark.seen()["body"]
    told = json.dumps({name: body.get(name) for name in ("tool_choice", "toolConfig", "tools")})
    if isinstance(choice, dict):
        assert "get_weather" in told
    if choice == "required":
        assert any(word in told for word in ('"required"', '"any"', '"ANY"', '"REQUIRED"')), told


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(client, mark, model, stream):
    form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    options = dict(model=model, messages=say(mark("json")), response_format=form)
    if stream:
        text = Streamed(client.chat.completions.create(**options, stream=True)).text
    else:
        text = client.chat.completions.create(**options).choices[0].message.content
    assert json.loads(text) == {"name": "Ada", "age": 36}
    assert "refused" not in mark.seen()
    assert '"age"' in mark.seen()["raw"] or '\\"age\\"' in mark.seen()["raw"], "the schema arrived in some form"


@pytest.mark.parametrize("model", MODELS)
def test_parse_into_a_model(client, mark, model):
    import pydantic

    class Person(pydantic.BaseModel):
        name: str
        age: int

    answer = client.chat.completions.parse(model=model, messages=say(mark("json")), response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36)


@pytest.mark.parametrize("model", MODELS)
def test_bounds_in_schemas(client, mark, model):
    """What models are told of values. Claude's structured output takes none, so they are told in words there."""
    import pydantic

    class Person(pydantic.BaseModel):
        name: str = pydantic.Field(min_length=1, max_length=40)
        age: int = pydantic.Field(ge=0, le=150)

    answer = client.chat.completions.parse(model=model, messages=say(mark("json")), response_format=Person)
    assert answer.choices[0].message.parsed == Person(name="Ada", age=36)
    assert "refused" not in mark.seen() and "150" in mark.seen()["raw"]
    tool = openai.pydantic_function_tool(Person)
    client.chat.completions.create(model=model, messages=say(mark("plain")), tools=[tool])
    assert "refused" not in mark.seen() and "150" in mark.seen()["raw"]


@pytest.mark.parametrize("model", but("anthropic", "bedrock", "cohere"))
def test_json_object(client, mark, model):
    messages = [{"role": "user", "content": mark("json") + " Answer in JSON."}]
    answer = client.chat.completions.create(model=model, messages=messages, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content)["name"] == "Ada"


@pytest.mark.parametrize("model", but("cohere"))
@pytest.mark.parametrize("stream", [False, True])
def test_reasoning(client, mark, model, stream):
    options = dict(model=model, messages=say(mark("think")), reasoning_effort="high", max_completion_tokens=8000)
    if stream:
        got = Streamed(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
        text, thinking, usage = got.text, got.thinking, got.usage[0]
    else:
        answer = client.chat.completions.create(**options)
        message = answer.choices[0].message
        text, thinking, usage = message.content, getattr(message, "reasoning_content", None), answer.usage
    assert text == "42" and "refused" not in mark.seen()
    usage_of(usage, "think")
    if not model.startswith("openai/"):
        assert thinking == story("think").reasoning
    if not model.startswith("bedrock"):
        assert usage.completion_tokens_details.reasoning_tokens == 12


@pytest.mark.parametrize("model", but("cohere"))
@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_with_tools_keeps_signatures(client, mark, model, stream):
    """The SDK's own message object goes back; what the provider signed must be in it."""
    turns = say(mark("think-tool"))
    options = dict(model=model, tools=TOOL_LIST, reasoning_effort="medium", max_completion_tokens=8000)
    if stream:
        message = {"role": "assistant", "content": None, "tool_calls": [], "reasoning_details": []}
        for chunk in client.chat.completions.create(messages=turns, stream=True, **options):
            for choice in chunk.choices:
                message["reasoning_details"] += getattr(choice.delta, "reasoning_details", None) or []
                for call in choice.delta.tool_calls or []:
                    if call.id:
                        begun = {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": ""}}
                        extra = getattr(call, "extra_content", None)
                        message["tool_calls"].append(begun | ({"extra_content": extra} if extra else {}))
                    message["tool_calls"][-1]["function"]["arguments"] += call.function.arguments or ""
        if not message["reasoning_details"]:
            del message["reasoning_details"]
        call = message["tool_calls"][0]["id"]
    else:
        message = client.chat.completions.create(messages=turns, **options).choices[0].message
        call = message.tool_calls[0].id
    turns += [message, {"role": "tool", "tool_call_id": call, "content": "sunny"}]
    last = client.chat.completions.create(messages=turns, **options)
    assert last.choices[0].message.content == "It is sunny in Paris."
    if model.startswith(("anthropic", "bedrock", "gemini")):
        assert "RXFyb3VnaCBzaWduYXR1cmU" in mark.seen()["raw"]


@pytest.mark.parametrize("model", but("cohere", "deepseek"))
def test_reasoning_survives_a_client_that_loses_it(client, mark, model):
    """Most clients send back text and calls only. The request must still be one that the provider takes."""
    turns = say(mark("think-tool"))
    options = dict(model=model, tools=TOOL_LIST, reasoning_effort="medium", max_completion_tokens=8000)
    message = client.chat.completions.create(messages=turns, **options).choices[0].message
    calls = [{"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}} for call in message.tool_calls]
    turns += [{"role": "assistant", "content": None, "tool_calls": calls}, {"role": "tool", "tool_call_id": calls[0]["id"], "content": "sunny"}]
    last = client.chat.completions.create(messages=turns, **options)
    assert last.choices[0].message.content == "It is sunny in Paris."


@pytest.mark.parametrize("model", but("cohere", "deepseek"))
def test_image(client, mark, model):
    parts = [{"type": "text", "text": mark("image")}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DOT}", "detail": "low"}}]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == story("image").text
    assert DOT in mark.seen()["raw"] and "image/png" in mark.seen()["raw"] or '"png"' in mark.seen()["raw"]


@pytest.mark.parametrize("model", but())
@pytest.mark.parametrize("scenario,finish", [("length", "length"), ("refused", "content_filter"), ("empty", "stop")])
@pytest.mark.parametrize("stream", [False, True])
def test_finish_reasons(client, mark, model, scenario, finish, stream):
    options = dict(model=model, messages=say(mark(scenario)))
    if stream:
        got = Streamed(client.chat.completions.create(**options, stream=True))
        assert (got.text, got.finishes) == (story(scenario).text, [finish])
    else:
        choice = client.chat.completions.create(**options).choices[0]
        assert (choice.message.content or "", choice.finish_reason) == (story(scenario).text, finish)


@pytest.mark.parametrize("model", but("responses", "openai/gpt-5-mini"))
def test_stop_sequence(client, mark, model):
    answer = client.chat.completions.create(model=model, messages=say(mark("stopped")), stop=["three", "four"])
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("one two", "stop")
    assert "three" in mark.seen()["raw"] and "four" in mark.seen()["raw"]


@pytest.mark.parametrize("model", MODELS)
def test_sampling_arrives_or_is_refused_by_name(client, mark, model):
    given = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 77}
    client.chat.completions.create(model=model, messages=say(mark("plain")), **given)
    raw = mark.seen()["raw"]
    assert "0.5" in raw and "0.9" in raw and "77" in raw, raw
    for name, value in {"seed": 7, "frequency_penalty": 0.5, "presence_penalty": 0.25, "logit_bias": {"50256": -100}, "n": 2}.items():
        before = mark.count()
        try:
            client.chat.completions.create(model=model, messages=say(mark("plain")), **{name: value})
        except openai.BadRequestError as refused:
            assert refused.param == name and mark.count() == before and refused.code
        else:
            assert str(value).strip("{}").split(": ")[-1] in mark.seen()["raw"], f"{name} was dropped in silence"


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "gemini-0/gemini-2.5-flash"])
@pytest.mark.parametrize("stream", [False, True])
def test_several_choices(client, mark, model, stream):
    options = dict(model=model, messages=say(mark("two")), n=2)
    if stream:
        got = Streamed(client.chat.completions.create(**options, stream=True))
        assert got.texts == {0: "heads", 1: "tails"} and got.finishes == ["stop", "stop"]
    else:
        answer = client.chat.completions.create(**options)
        assert [(c.index, c.message.content) for c in answer.choices] == [(0, "heads"), (1, "tails")]


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "gemini-0/gemini-2.5-flash", "responses-0/gpt-5"])
@pytest.mark.parametrize("stream", [False, True])
def test_logprobs(client, mark, model, stream):
    options = dict(model=model, messages=say(mark("logprobs")), logprobs=True, top_logprobs=2)
    if stream:
        content = Streamed(client.chat.completions.create(**options, stream=True)).logprobs
    else:
        content = client.chat.completions.create(**options).choices[0].logprobs.content
    assert [(t.token, t.logprob) for t in content] == [("Yes", -0.25)]
    assert [(t.token, t.logprob) for t in content[0].top_logprobs] == [("Yes", -0.25), ("No", -1.5)]


@pytest.mark.parametrize("model", but("bedrock", "cohere", "deepseek"))
@pytest.mark.parametrize("stream", [False, True])
def test_citations(client, mark, model, stream):
    options = dict(model=model, messages=say(mark("cited")))
    if stream:
        found = []
        for chunk in client.chat.completions.create(**options, stream=True):
            for choice in chunk.choices:
                found += getattr(choice.delta, "annotations", None) or []
        urls = [a["url_citation"]["url"] for a in found]
    else:
        urls = [a.url_citation.url for a in client.chat.completions.create(**options).choices[0].message.annotations]
    assert urls == [story("cited").citation["url"]]


# ---- errors ----


def test_bad_key(stand, mark):
    stranger = openai.OpenAI(base_url=f"{stand.url}/v1", api_key="sk-nobody", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as refused:
        stranger.chat.completions.create(model=MODELS[0], messages=say(mark("plain")))
    assert refused.value.code == "invalid_api_key" and refused.value.request_id and refused.value.type
    assert set(refused.value.body) >= {"message", "type", "param", "code"}
    assert mark.count() == 0


def test_unknown_model(client, mark):
    for model in ["gpt-nothing", "openai/nothing", "nobody/nothing"]:
        with pytest.raises(openai.NotFoundError) as missing:
            client.chat.completions.create(model=model, messages=say(mark("plain")))
        assert missing.value.code == "model_not_found" and missing.value.param == "model"
        assert missing.value.body["type"] == "invalid_request_error" and missing.value.request_id


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("wrong", [{"messages": []}, {"messages": "hi"}, {"temperature": "hot"}, {"tools": "x"}, {"max_tokens": -1}], ids=str)
def test_bad_parameters(client, mark, model, wrong):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{"model": model, "messages": say(mark("plain"))} | wrong)
    assert refused.value.type == "invalid_request_error" and refused.value.body["message"]


CLASSES = {400: openai.BadRequestError, 403: None, 404: None, 429: openai.RateLimitError, 500: openai.InternalServerError, 503: openai.InternalServerError}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", [400, 429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_the_provider(client, mark, model, status, stream):
    with pytest.raises(CLASSES[status]) as error:
        answer = client.chat.completions.create(model=fresh(model, limited=status in (401, 403, 429)), messages=say(mark(f"status-{status}")), stream=stream)
        list(answer) if stream else None
    failed = error.value
    assert set(failed.body) >= {"message", "type", "param", "code"} and failed.request_id.startswith("req_")
    if status == 400:
        assert failed.status_code == 400 and "the provider says 400" in failed.body["message"]
        assert failed.response.headers["x-should-retry"] == "false"
    if status == 429:
        assert failed.response.headers["retry-after"] == "7" and failed.code == "rate_limit_exceeded"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("status", [401, 403])
def test_a_providers_401_is_not_the_clients(client, mark, model, status):
    with pytest.raises(openai.APIStatusError) as error:
        client.chat.completions.create(model=fresh(model, limited=status in (401, 403, 429)), messages=say(mark(f"status-{status}")))
    assert error.value.status_code >= 500, error.value


@pytest.mark.parametrize("model", but("gemini", "bedrock", "cohere", "responses"))
def test_an_empty_purse_is_not_worth_a_retry(client, mark, model):
    with pytest.raises(openai.APIStatusError) as error:
        client.chat.completions.create(model=fresh(model, limited=True), messages=say(mark("status-quota")))
    assert error.value.response.headers["x-should-retry"] == "false" or model.startswith("anthropic")


@pytest.mark.parametrize("model", FAILING)
def test_context_overflow_is_told_with_its_code(client, mark, model):
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(model=fresh(model), messages=say(mark("status-context")))
    assert error.value.code == "context_length_exceeded"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scenario", ["status-html", "garbage"])
def test_no_answer_of_the_dialect(client, mark, model, scenario):
    with pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(model=fresh(model), messages=say(mark(scenario)))
    assert isinstance(error.value.body, dict) and "html" not in error.value.body["message"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scenario", ["cut", "broken"])
def test_a_broken_stream_raises(client, mark, model, scenario):
    text = ""
    with pytest.raises(openai.APIError):
        for chunk in client.chat.completions.create(model=fresh(model), messages=say(mark(scenario)), stream=True):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                assert not choice.finish_reason
    assert text == story(scenario).text


@pytest.mark.parametrize("model", FAILING)
def test_a_cut_answer_raises(client, mark, model):
    with pytest.raises(openai.APIError):
        client.chat.completions.create(model=fresh(model), messages=say(mark("cut")))


@pytest.mark.parametrize("model", FAILING)
def test_leaving_a_stream_stops_the_provider(client, mark, model):
    with client.chat.completions.create(model=fresh(model), messages=say(mark("slow")), stream=True) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
    assert mark.closed_within(5)


@pytest.mark.parametrize("model", ["openai/gpt-5-mini", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"])
def test_leaving_before_the_answer_stops_the_provider(client, mark, model):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model=fresh(model), messages=say(mark("hang")))
    assert mark.closed_within(5)


# ---- the same dialect: bytes pass ----


def test_unknown_members_and_big_numbers_pass(client, mark):
    extra = {"x_unknown": {"deep": [1, 9007199254740993]}}
    client.chat.completions.create(model="openai/gpt-5-mini", messages=say(mark("plain")), extra_body=extra, seed=9007199254740993)
    assert '"seed":9007199254740993' in mark.seen()["raw"] and '"deep":[1,9007199254740993]' in mark.seen()["raw"]
    assert mark.seen()["body"]["model"] == "gpt-5-mini"


def test_hints_pass(client, mark):
    given = dict(user="u-1", metadata={"a": "b"}, service_tier="flex", store=False, prompt_cache_key="k")
    client.chat.completions.create(model="openai/gpt-5-mini", messages=say(mark("plain")), **given)
    assert given.items() <= mark.seen()["body"].items()


@pytest.mark.parametrize("model", but("openai"))
def test_hints_that_another_dialect_lacks_are_listed(client, mark, model):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=say(mark("plain")), user="u-1", store=False, prompt_cache_key="k")
    dropped = raw.headers.get("x-stellwerk-dropped-params", "")
    for name in ("user", "store", "prompt_cache_key"):
        assert name in dropped or name in mark.seen()["raw"] or ("user" == name and "u-1" in mark.seen()["raw"])


# ---- what is no conversation ----


def test_models(client):
    models = client.models.list()
    ids = [model.id for model in models]
    assert "openai/gpt-5-mini" in ids and all(model.object == "model" for model in models.data)
    one = client.models.retrieve("anthropic/claude-sonnet-4-5")
    assert (one.id, one.object) == ("anthropic/claude-sonnet-4-5", "model")
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("nothing")
    assert missing.value.code == "model_not_found"


def test_embeddings(client, stand):
    answer = client.embeddings.create(model="openai/text-embedding-3-small", input=["one", "two"])
    assert [item.embedding for item in answer.data] == [[0.25, -0.5, 1.0]] * 2 and answer.usage.prompt_tokens == 8
    assert stand.providers.seen[-1]["body"]["encoding_format"] == "base64", "the client's own default"
    floats = client.embeddings.create(model="openai/text-embedding-3-small", input=[[1, 2, 3], [4]], encoding_format="float")
    assert len(floats.data) == 2 and stand.providers.seen[-1]["body"]["input"] == [[1, 2, 3], [4]]


@pytest.mark.parametrize("model", MODELS)
def test_legacy_completions(client, mark, model):
    native = model.startswith(("openai", "deepseek"))
    text = "Paris." if native else story("plain").text
    answer = client.completions.create(model=model, prompt=mark("plain"), max_tokens=50)
    assert (answer.choices[0].text, answer.choices[0].finish_reason, answer.object) == (text, "stop", "text_completion")
    assert answer.usage.total_tokens == (7 if native else 59)
    chunks = list(client.completions.create(model=model, prompt=mark("plain"), max_tokens=50, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == text and all(chunk.usage is None for chunk in chunks)
    asked = list(client.completions.create(model=model, prompt=mark("plain"), stream=True, stream_options={"include_usage": True}))
    assert asked[-1].choices == [] and asked[-1].usage.total_tokens == answer.usage.total_tokens


@pytest.mark.parametrize("model", but("cohere", "deepseek"))
def test_documents(client, mark, model):
    pdf = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQK"}
    parts = [{"type": "text", "text": mark("plain")}, {"type": "file", "file": pdf}]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content == story("plain").text
    assert "JVBERi0xLjQK" in mark.seen()["raw"] and "refused" not in mark.seen()


def test_batches(client):
    def line(name):
        body = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": f"scenario={name}"}]}
        return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body})

    lines = "\n".join(line(name) for name in ("plain", "parallel"))
    file = client.files.create(file=("asks.jsonl", lines.encode()), purpose="batch")
    assert (file.object, client.files.retrieve(file.id).id) == ("file", file.id)
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"run": "1"})
    assert (batch.status, batch.metadata) == ("validating", {"run": "1"})
    while (batch := client.batches.retrieve(batch.id)).status != "completed":
        pass
    answers = {told["custom_id"]: told["response"]["body"] for told in map(json.loads, client.files.content(batch.output_file_id).text.splitlines())}
    assert answers["plain"]["choices"][0]["message"]["content"] == story("plain").text
    assert len(answers["parallel"]["choices"][0]["message"]["tool_calls"]) == len(story("parallel").calls)
    assert batch.id in [known.id for known in client.batches.list(limit=100)]
    assert file.id in [known.id for known in client.files.list()]
    # The input goes when all that came of it is accounted.
    assert client.with_options(max_retries=9).files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    with pytest.raises(openai.BadRequestError, match="batches"):
        client.files.create(file=("notes.txt", b"hello"), purpose="user_data")
