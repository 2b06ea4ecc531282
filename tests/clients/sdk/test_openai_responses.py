"""OpenAI's client on the Responses API, against every provider dialect."""

import json

import openai
import pytest
from kit import arguments, but, DOT, FAILING, fresh, MODELS, PERSON, story, TOOLS

TOOL_LIST = [{"type": "function", "name": name, "description": name, "parameters": schema, "strict": True} for name, schema in TOOLS.items()]


@pytest.fixture(scope="module")
def client(stand):
    return openai.OpenAI(base_url=f"{stand.url}/v1", api_key=stand.key, max_retries=0)


def usage_of(told, name):
    expected = story(name).usage
    assert (told.input_tokens, told.output_tokens) == (expected["input"], expected["output"])
    assert told.total_tokens == expected["input"] + expected["output"]
    assert told.input_tokens_details.cached_tokens == expected["cached"]


def streamed(client, **given):
    """The response of the terminal event, and the order of events checked on the way."""
    text, thinking, numbers, items, done, open_items, raw_arguments = "", "", [], {}, None, {}, {}
    for event in client.responses.create(stream=True, **given):
        assert done is None, "nothing after the terminal event"
        numbers.append(event.sequence_number)
        if event.type == "response.output_item.added":
            open_items[event.output_index] = event.item.id
        elif event.type == "response.output_item.done":
            items[event.output_index] = event.item
            assert open_items.pop(event.output_index) == event.item.id
        elif event.type == "response.output_text.delta":
            text += event.delta
        elif event.type in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
            thinking += event.delta
        elif event.type == "response.function_call_arguments.delta":
            raw_arguments[event.output_index] = raw_arguments.get(event.output_index, "") + event.delta
        elif event.type in ("response.completed", "response.incomplete", "response.failed"):
            done = event.response
    assert numbers == list(range(len(numbers))) and done is not None and not open_items
    assert [item.id for item in done.output] == [items[at].id for at in sorted(items)]
    assert done.output_text == text
    for at, raw in raw_arguments.items():
        assert items[at].arguments == raw
    return done


def ask(client, stream, **given):
    return streamed(client, **given) if stream else client.responses.create(**given)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_plain(client, mark, model, stream):
    answer = ask(client, stream, model=model, instructions="Be brief.", input=mark("plain"))
    assert (answer.output_text, answer.status, answer.object) == (story("plain").text, "completed", "response")
    assert answer.id and answer.created_at > 0 and answer.error is None and answer.incomplete_details is None
    message = answer.output[-1]
    assert (message.type, message.role, message.status) == ("message", "assistant", "completed") and message.id
    usage_of(answer.usage, "plain")
    assert "refused" not in mark.seen() and "Be brief." in mark.seen()["raw"]
    if not stream:
        assert answer._request_id.startswith("req_")


@pytest.mark.parametrize("model", MODELS)
def test_raw_stream(client, mark, model):
    with client.responses.with_streaming_response.create(model=model, input=mark("think"), stream=True) as raw:
        lines = list(raw.iter_lines())
    pairs = [(lines[at], json.loads(lines[at + 1][6:])) for at in range(len(lines)) if lines[at].startswith("event: ")]
    assert all(name == "event: " + data["type"] for name, data in pairs)
    kinds = [data["type"] for _, data in pairs]
    assert kinds[:2] == ["response.created", "response.in_progress"] and kinds[-1] == "response.completed"
    assert "data: [DONE]" not in lines


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scenario", ["tool", "parallel", "no-arguments", "big-number", "drip"])
def test_tool_loop(client, mark, model, stream, scenario):
    turns = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": mark(scenario)}]
    given = dict(model=model, tools=TOOL_LIST, store=False, parallel_tool_calls=True)
    answer = ask(client, stream, input=turns, **given) if not model.startswith(("gemini", "bedrock", "cohere")) else ask(client, stream, input=turns, model=model, tools=TOOL_LIST, store=False)
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == list(zip([name for name, _ in story(scenario).calls], arguments(scenario)))
    assert len({call.call_id for call in calls}) == len(calls) and all(call.id and call.call_id for call in calls)
    turns += [item.model_dump(exclude_none=True) for item in answer.output]
    turns += [{"type": "function_call_output", "call_id": call.call_id, "output": "ok"} for call in calls]
    last = ask(client, stream, input=turns, model=model, tools=TOOL_LIST)
    assert (last.output_text, last.status) == (story(scenario).then, "completed")
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
def test_items_without_ids_and_output_as_a_list(client, mark, model):
    """What OpenCode and Codex send: assistant messages without id and status, output of tools as a list of parts."""
    turns = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": mark("tool")}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city":"Paris","unit":"celsius"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": [{"type": "input_text", "text": "sunny"}]},
    ]
    answer = client.responses.create(model=model, input=turns, tools=TOOL_LIST)
    assert answer.output_text == story("tool").then and "sunny" in mark.seen()["raw"]


@pytest.mark.parametrize("model", but("openai", "responses"))
@pytest.mark.parametrize("stream", [False, True])
def test_items_that_are_only_named(client, stand, mark, model, stream):
    """Vercel's SDK names what it takes for stored, thinking with its signature included."""
    turns = [{"role": "user", "content": mark("think-tool" if not model.startswith("cohere") else "tool")}]
    given = dict(model=model, tools=TOOL_LIST, max_output_tokens=9000)
    answer = ask(client, stream, input=turns, **given)
    named = turns + [{"type": "item_reference", "id": item.id} for item in answer.output]
    named += [{"type": "function_call_output", "call_id": answer.output[-1].call_id, "output": "sunny"}]
    assert ask(client, stream, input=named, **given).output_text == story("tool").then
    assert "refused" not in mark.seen()
    kept_nothing = ask(client, stream, input=turns, store=False, **given)
    named[1:-1] = [{"type": "item_reference", "id": item.id} for item in kept_nothing.output]
    with pytest.raises(openai.BadRequestError):
        client.responses.create(input=named, **given)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("choice", ["auto", "required", "none", {"type": "function", "name": "get_weather"}], ids=str)
def test_tool_choice(client, mark, model, choice):
    client.responses.create(model=model, input=mark("plain"), tools=TOOL_LIST, tool_choice=choice)
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", but("cohere"))
@pytest.mark.parametrize("stream", [False, True])
def test_reasoning(client, mark, model, stream):
    answer = ask(client, stream, model=model, input=mark("think"), reasoning={"effort": "medium", "summary": "auto"}, max_output_tokens=9000)
    assert answer.output_text == "42" and "refused" not in mark.seen()
    thought = "".join(part.text for item in answer.output if item.type == "reasoning" for part in [*item.summary, *(item.content or [])])
    if not model.startswith("openai-chat"):
        assert thought == story("think").reasoning
    usage_of(answer.usage, "think")
    if not model.startswith("bedrock"):
        assert answer.usage.output_tokens_details.reasoning_tokens == 12


@pytest.mark.parametrize("model", but("cohere"))
@pytest.mark.parametrize("stream", [False, True])
def test_reasoning_with_tools_keeps_signatures(client, mark, model, stream):
    given = dict(model=model, tools=TOOL_LIST, reasoning={"effort": "medium", "summary": "auto"}, include=["reasoning.encrypted_content"], store=False, max_output_tokens=9000)
    turns = [{"role": "user", "content": mark("think-tool")}]
    answer = ask(client, stream, input=turns, **given)
    call = answer.output[-1]
    turns += [item.model_dump(exclude_none=True) for item in answer.output]
    turns += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    assert ask(client, stream, input=turns, **given).output_text == "It is sunny in Paris."
    assert "refused" not in mark.seen()
    if not model.startswith("deepseek"):
        assert "RXFyb3VnaCBzaWduYXR1cmU" in mark.seen()["raw"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(client, mark, model, stream):
    form = {"format": {"type": "json_schema", "name": "person", "strict": True, "schema": PERSON}}
    answer = ask(client, stream, model=model, input=mark("json"), text=form)
    assert json.loads(answer.output_text) == {"name": "Ada", "age": 36} and "age" in mark.seen()["raw"]


@pytest.mark.parametrize("model", but("cohere", "deepseek"))
def test_image(client, mark, model):
    parts = [{"type": "input_text", "text": mark("image")}, {"type": "input_image", "image_url": f"data:image/png;base64,{DOT}", "detail": "auto"}]
    answer = client.responses.create(model=model, input=[{"role": "user", "content": parts}])
    assert answer.output_text == story("image").text and DOT in mark.seen()["raw"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scenario,status,reason", [("length", "incomplete", "max_output_tokens"), ("refused", "incomplete", "content_filter"), ("empty", "completed", None)])
def test_ends(client, mark, model, stream, scenario, status, reason):
    answer = ask(client, stream, model=model, input=mark(scenario))
    assert (answer.output_text, answer.status) == (story(scenario).text, status)
    assert (answer.incomplete_details.reason if answer.incomplete_details else None) == reason


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_citations(client, mark, model, stream):
    if model.startswith(("bedrock", "cohere", "deepseek")):
        pytest.skip("the double tells none there")
    answer = ask(client, stream, model=model, input=mark("cited"))
    assert [found.url for found in answer.output[-1].content[0].annotations] == [story("cited").citation["url"]]


@pytest.mark.parametrize("model", MODELS)
def test_what_codex_sends(client, mark, model):
    """Namespaces, web search, a freeform tool, its metadata: to any provider, and never an error."""
    tools = [
        *TOOL_LIST,
        {"type": "namespace", "name": "mcp__files", "description": "files", "tools": [{"type": "function", "name": "read", "description": "r", "parameters": TOOLS["ping"], "strict": False}]},
        {"type": "web_search", "external_web_access": False},
        {"type": "custom", "name": "apply_patch", "description": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}},
    ]
    given = dict(
        model=model, input=[{"role": "developer", "content": "a"}, {"role": "developer", "content": "b"}, {"role": "user", "content": mark("tool")}],
        tools=tools, store=False, include=["reasoning.encrypted_content"], reasoning={"summary": "auto"}, parallel_tool_calls=True,
        prompt_cache_key="k", extra_body={"client_metadata": {"a": "b"}},
    )
    if model.startswith(("responses", "openai")):
        pytest.skip("bytes of the same dialect pass")
    answer = streamed(client, **given)
    assert answer.output[-1].type == "function_call" and "refused" not in mark.seen()


def test_state_at_a_provider_is_refused_elsewhere(client, mark):
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="anthropic/claude-sonnet-4-5", input=mark("plain"), previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id" and mark.count() == 0


def test_the_same_dialect_passes(client, mark):
    for model in ["responses-0/gpt-5", "openai/gpt-5-mini"]:
        client.responses.create(model=model, input=mark("plain"), metadata={"a": "b"}, service_tier="flex", extra_body={"x_unknown": 9007199254740993})
        assert "9007199254740993" in mark.seen()["raw"] and mark.seen()["path"].endswith("/responses")
        assert mark.seen()["body"]["metadata"] == {"a": "b"}


# ---- errors ----


def test_bad_key_and_unknown_model(client, stand, mark):
    stranger = openai.OpenAI(base_url=f"{stand.url}/v1", api_key="sk-nobody", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as refused:
        stranger.responses.create(model=MODELS[0], input=mark("plain"))
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="gpt-nothing", input=mark("plain"))
    assert missing.value.code == "model_not_found"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("wrong", [{"input": []}, {"input": 7}, {"temperature": "hot"}, {"tools": "x"}], ids=str)
def test_bad_parameters(client, mark, model, wrong):
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**{"model": model, "input": mark("plain")} | wrong)
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_errors_of_the_provider(client, mark, model, stream, status):
    classes = {400: openai.BadRequestError, 429: openai.RateLimitError}
    with pytest.raises(classes.get(status, openai.InternalServerError)) as error:
        answer = client.responses.create(model=fresh(model, limited=status in (401, 403, 429)), input=mark(f"status-{status}"), stream=stream)
        list(answer) if stream else None
    assert set(error.value.body) >= {"message", "type", "param", "code"}
    if status == 429:
        assert error.value.response.headers["retry-after"] == "7"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scenario", ["cut", "broken"])
def test_a_broken_stream_fails(client, mark, model, scenario):
    text, kinds, failed = "", [], None
    try:
        for event in client.responses.create(model=fresh(model), input=mark(scenario), stream=True):
            kinds.append(event.type)
            text += event.delta if event.type == "response.output_text.delta" else ""
            failed = event.response if event.type == "response.failed" else failed
    except openai.APIError:
        failed = True
    assert failed and text == story(scenario).text and "response.completed" not in kinds
    if failed is not True:
        assert failed.error.code and failed.error.message and failed.status == "failed"


@pytest.mark.parametrize("model", FAILING)
def test_leaving_a_stream_stops_the_provider(client, mark, model):
    with client.responses.create(model=fresh(model), input=mark("slow"), stream=True) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
    assert mark.closed_within(5)


def test_a_stored_answer_is_retrieved_and_deleted_where_it_lies(client, mark):
    answer = client.responses.create(model="responses-0/gpt-5", input=mark("plain"))
    again = client.responses.retrieve(answer.id)
    assert (again.id, again.output_text) == (answer.id, answer.output_text)
    assert client.responses.input_items.list(answer.id, limit=5).data[0].id == "msg_in"
    client.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)
    translated = client.responses.create(model="anthropic/claude-sonnet-4-5", input=mark("plain"), store=False)
    with pytest.raises(openai.NotFoundError) as gone:
        client.responses.retrieve(translated.id)
    assert gone.value.code == "response_not_kept"
