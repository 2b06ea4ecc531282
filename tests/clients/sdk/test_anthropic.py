"""Anthropic's client, against every provider dialect."""

import json

import anthropic
import pytest
from kit import arguments, but, DOT, FAILING, fresh, MODELS, PERSON, story, TOOLS

TOOL_LIST = [{"name": name, "description": name, "input_schema": schema} for name, schema in TOOLS.items()]
NEW = not hasattr(anthropic, "HUMAN_PROMPT") and int(anthropic.__version__.split(".")[0]) >= 2


@pytest.fixture(scope="module")
def client(stand):
    return anthropic.Anthropic(base_url=stand.url, api_key=stand.key, max_retries=0)


def options(model, text, **more):
    return {"model": model, "max_tokens": 9000, "system": "Be brief.", "messages": [{"role": "user", "content": text}]} | more


def usage_of(told, name):
    expected = story(name).usage
    assert (told.input_tokens, told.cache_read_input_tokens or 0) == (expected["input"] - expected["cached"], expected["cached"])
    assert told.output_tokens == expected["output"]


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def streamed(client, **given):
    """The message that the SDK puts together, and the order of events checked on the way."""
    with client.messages.stream(**given) as stream:
        kinds, open_block, ended = [], None, False
        for event in stream:
            kinds.append(event.type)
            assert not ended
            if event.type == "content_block_start":
                assert open_block is None
                open_block = event.index
            elif event.type == "content_block_delta":
                assert event.index == open_block
            elif event.type == "content_block_stop":
                assert event.index == open_block
                open_block = None
            ended = event.type == "message_stop"
        assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
        assert kinds.count("message_start") == kinds.count("message_delta") == kinds.count("message_stop") == 1
        return stream.get_final_message()


def ask(client, stream, **given):
    return streamed(client, **given) if stream else client.messages.create(**given)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_plain(client, mark, model, stream):
    message = ask(client, stream, **options(model, mark("plain")))
    assert [block.type for block in message.content] == ["text"] and text_of(message) == story("plain").text
    assert (message.role, message.type, message.stop_reason, message.stop_sequence) == ("assistant", "message", "end_turn", None)
    assert message.id and message.model
    usage_of(message.usage, "plain")
    assert "refused" not in mark.seen() and mark.count() == 1
    if not stream:
        assert message._request_id.startswith("req_")


@pytest.mark.parametrize("model", MODELS)
def test_raw_stream(client, mark, model):
    """Names of events equal to their types, as the SDKs demand, and no `[DONE]`."""
    with client.messages.with_streaming_response.create(**options(model, mark("parallel")), tools=TOOL_LIST, stream=True) as raw:
        lines = list(raw.iter_lines())
        assert raw.headers["request-id"] == raw.headers["x-request-id"]
    assert "data: [DONE]" not in lines
    events = [(lines[at].removeprefix("event: "), json.loads(lines[at + 1].removeprefix("data: "))) for at in range(len(lines)) if lines[at].startswith("event: ")]
    assert all(name == data["type"] for name, data in events)
    assert events[-1][0] == "message_stop" and events[0][0] == "message_start"
    start = events[0][1]["message"]
    assert start["content"] == [] and start["stop_reason"] is None and start["role"] == "assistant" and start["id"]
    starts = [data["content_block"] for name, data in events if name == "content_block_start"]
    assert all(block["input"] == {} and block["id"] for block in starts if block["type"] == "tool_use")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scenario", ["tool", "parallel", "no-arguments", "big-number", "drip"])
def test_tool_loop(client, mark, model, stream, scenario):
    given = options(model, mark(scenario), tools=TOOL_LIST)
    message = ask(client, stream, **given)
    assert message.stop_reason == "tool_use"
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == list(zip([name for name, _ in story(scenario).calls], arguments(scenario)))
    assert len({call.id for call in calls}) == len(calls) and all(call.id for call in calls)
    assert text_of(message) == story(scenario).text or model.startswith("cohere")
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "ok"}]} for call in calls]
    given["messages"] += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    last = ask(client, stream, **given)
    assert (text_of(last), last.stop_reason) == (story(scenario).then, "end_turn")
    assert "refused" not in mark.seen()


@pytest.mark.skipif(not hasattr(anthropic, "beta_tool"), reason="this client runs no tools")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_clients_own_tool_loop(client, mark, model, stream):
    """The newest ones leave the conversation at the provider, where it keeps any, and send it whole where it does not."""

    @anthropic.beta_tool
    def get_weather(city: str, unit: str) -> str:
        """The weather."""
        return f"sunny in {city}, {mark('tool')}"  # the double finds its scenario in what is sent

    given = dict(model=model, max_tokens=900, messages=[{"role": "user", "content": mark("tool")}], tools=[get_weather], stream=stream)
    turns = [turn.get_final_message() if stream else turn for turn in client.beta.messages.tool_runner(**given)]
    assert [turn.stop_reason for turn in turns] == ["tool_use", "end_turn"] and text_of(turns[-1]) == story("tool").then
    assert "refused" not in mark.seen() and "sunny in Paris" in mark.seen()["raw"]
    if hasattr(client.beta.messages, "thread"):
        kept = (mark.seen()["body"].get("thread") or {}).get("type")
        assert kept == ("continue" if model.startswith("anthropic") else None)


@pytest.mark.skipif(not hasattr(anthropic.resources.beta.messages.Messages, "thread"), reason="this client keeps no threads")
def test_a_thread_that_is_lost_is_told_so_that_the_client_begins_it_again(client, mark):
    given = options("anthropic/claude-sonnet-4-5", mark("plain"), betas=["message-threads-2026-08-12"])
    with pytest.raises(anthropic.BadRequestError) as lost:
        client.beta.messages.create(**given, thread={"type": "continue", "previous_message_id": "msg_none"})
    assert lost.value.body["error"]["details"] == {"error_code": "thread_not_found"}
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.beta.messages.create(**(given | {"model": "gemini/gemini-3.8-flash"}), thread={"type": "create"})
    assert refused.value.body["error"]["details"]["error_code"] == "thread_unsupported_request"


def test_a_begun_answer_goes_to_a_model_that_goes_on_with_it(client, stand, mark):
    """The newest of Claude answer users only. This client means that the words are gone on with, and is told which turn it is."""
    begun = [{"role": "user", "content": mark("plain")}, {"role": "assistant", "content": "The capital"}]
    client.messages.create(model="anthropic/claude-sonnet-4-5", max_tokens=90, messages=begun)
    before = mark.count()
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(model="bedrock/anthropic.claude-opus-4-7", max_tokens=90, messages=begun)
    assert "does not go on with a turn of the assistant" in str(refused.value) and mark.count() == before


@pytest.mark.parametrize("model", MODELS)
def test_failed_tool_and_text_beside_the_result(client, mark, model):
    given = options(model, mark("tool"), tools=TOOL_LIST)
    call = next(block for block in client.messages.create(**given).content if block.type == "tool_use")
    results = [{"type": "tool_result", "tool_use_id": call.id, "is_error": True, "content": "no such city"}, {"type": "text", "text": "Try again."}]
    given["messages"] += [{"role": "assistant", "content": [call.model_dump(exclude_none=True)]}, {"role": "user", "content": results}]
    assert text_of(client.messages.create(**given)) == story("tool").then
    assert "no such city" in mark.seen()["raw"] and "Try again." in mark.seen()["raw"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "get_weather"}], ids=str)
def test_tool_choice(client, mark, model, choice):
    client.messages.create(**options(model, mark("plain"), tools=TOOL_LIST, tool_choice=choice))
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", but("cohere"))
@pytest.mark.parametrize("stream", [False, True])
def test_thinking(client, mark, model, stream):
    message = ask(client, stream, **options(model, mark("think"), thinking={"type": "enabled", "budget_tokens": 2000}))
    assert text_of(message) == "42" and message.stop_reason == "end_turn"
    thinking = [block for block in message.content if block.type == "thinking"]
    if not model.startswith("openai"):
        assert "".join(block.thinking for block in thinking) == story("think").reasoning
        assert message.content[0].type == "thinking"
    if model.startswith(("anthropic", "bedrock")):
        assert thinking[0].signature
    usage_of(message.usage, "think")
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", but("cohere"))
@pytest.mark.parametrize("stream", [False, True])
def test_thinking_with_tools_keeps_signatures(client, mark, model, stream):
    given = options(model, mark("think-tool"), tools=TOOL_LIST, thinking={"type": "enabled", "budget_tokens": 2000})
    message = ask(client, stream, **given)
    call = message.content[-1]
    assert call.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    given["messages"] += [{"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]}, {"role": "user", "content": [result]}]
    last = ask(client, stream, **given)
    assert text_of(last) == "It is sunny in Paris."
    assert "refused" not in mark.seen()
    if not model.startswith(("openai", "deepseek")):
        assert "RXFyb3VnaCBzaWduYXR1cmU" in mark.seen()["raw"]


@pytest.mark.parametrize("model", MODELS)
def test_adaptive_thinking_and_effort(client, mark, model):
    if model.startswith(("cohere", "deepseek")):
        pytest.skip("no such thing there")
    given = options(model, mark("think"), extra_body={"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}})
    assert text_of(client.messages.create(**given)) == "42"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(client, mark, model, stream):
    form = {"format": {"type": "json_schema", "schema": PERSON}}
    message = ask(client, stream, **options(model, mark("json"), output_config=form))
    assert json.loads(text_of(message)) == {"name": "Ada", "age": 36}
    assert "refused" not in mark.seen() and "age" in mark.seen()["raw"]


@pytest.mark.parametrize("model", but("cohere", "deepseek"))
def test_image(client, mark, model):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DOT}}
    given = options(model, "", messages=[{"role": "user", "content": [image, {"type": "text", "text": mark("image")}]}])
    assert text_of(client.messages.create(**given)) == story("image").text
    assert DOT in mark.seen()["raw"]


@pytest.mark.parametrize("model", MODELS)
def test_documents_of_text_and_turns_of_the_system(client, mark, model):
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "the words of it"}, "title": "a.txt"}
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}, {"role": "system", "content": "Be kind."}]
    turns.append({"role": "user", "content": [text, {"type": "text", "text": mark("plain")}]})
    assert text_of(client.messages.create(**options(model, "", messages=turns))) == story("plain").text
    assert "the words of it" in mark.seen()["raw"] and "Be kind." in mark.seen()["raw"] and "refused" not in mark.seen()


@pytest.mark.parametrize("model", but("cohere", "deepseek"))
def test_images_in_the_result_of_a_tool(client, mark, model):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DOT}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "here"}, image]}
    call = {"type": "tool_use", "id": "toolu_1", "name": "ping", "input": {}}
    turns = [{"role": "user", "content": mark("no-arguments")}, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    assert text_of(client.messages.create(**options(model, "", messages=turns, tools=TOOL_LIST))) == story("no-arguments").then
    assert DOT in mark.seen()["raw"] and "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scenario,reason", [("length", "max_tokens"), ("refused", "refusal"), ("empty", "end_turn")])
def test_stop_reasons(client, mark, model, stream, scenario, reason):
    message = ask(client, stream, **options(model, mark(scenario)))
    assert (text_of(message), message.stop_reason) == (story(scenario).text, reason)


@pytest.mark.parametrize("model", but("responses", "openai"))
def test_stop_sequences(client, mark, model):
    message = client.messages.create(**options(model, mark("stopped"), stop_sequences=["three"]))
    assert text_of(message) == "one two" and "three" in mark.seen()["raw"]
    if model.startswith("anthropic"):
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "three")


@pytest.mark.parametrize("model", MODELS)
def test_cache_marks_and_metadata(client, mark, model):
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    given = options(model, mark("plain"), system=system, metadata={"user_id": "u-1"})
    raw = client.messages.with_raw_response.create(**given)
    assert text_of(raw.parse()) == story("plain").text
    arrived, dropped = mark.seen()["raw"], raw.headers.get("x-stellwerk-dropped-params", "")
    assert "cache_control" in arrived or "cachePoint" in arrived or "cache_control" in dropped, (arrived, dropped)
    assert "u-1" in arrived or "metadata" in dropped
    assert "Be brief." in arrived


@pytest.mark.parametrize("model", but("anthropic"))
@pytest.mark.parametrize("top_k", [None, 40])
def test_sampling(client, mark, model, top_k):
    more = {"temperature": 0.5, "top_p": 0.9} | ({"top_k": top_k} if top_k else {})
    try:
        client.messages.create(**options(model, mark("plain"), extra_body=more))
    except anthropic.BadRequestError as refused:
        assert "top_k" in str(refused) and top_k and mark.count() == 0
    else:
        raw = mark.seen()["raw"]
        assert "0.5" in raw and "0.9" in raw and (not top_k or "40" in raw)


def test_the_same_dialect_passes(client, mark):
    """Versions, betas, unknown members, server tools: as they came."""
    more = {"x_unknown": [9007199254740993]}
    given = options("anthropic/claude-sonnet-4-5", mark("plain"), extra_body=more, extra_headers={"anthropic-beta": "one-2027-01-01,two"})
    given["tools"] = [{"type": "web_search_20250305", "name": "web_search"}]
    client.messages.create(**given)
    seen = mark.seen()
    assert seen["headers"]["anthropic-version"] == ("2026-10-21" if NEW else "2023-06-01")
    assert seen["headers"]["anthropic-beta"] == "one-2027-01-01,two" and "[9007199254740993]" in seen["raw"]
    assert seen["body"]["tools"] == given["tools"]


@pytest.mark.parametrize("model", MODELS)
def test_what_coding_tools_send(client, mark, model):
    """Betas, server tools, context management, a system block per purpose: to any provider, and never an error."""
    tools = [*TOOL_LIST, {"type": "web_search_20250305", "name": "web_search"}]
    system = [{"type": "text", "text": "attribution"}, {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    given = options(model, mark("tool"), tools=tools, system=system, metadata={"user_id": "u"}, betas=["interleaved-thinking-2025-05-14"], extra_body={"context_management": {"edits": []}})
    with client.beta.messages.stream(**given) as stream:
        message = stream.get_final_message()
    assert message.stop_reason == "tool_use" and "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_citations(client, mark, model, stream):
    if model.startswith(("bedrock", "cohere", "deepseek")):
        pytest.skip("the double tells none there")
    message = ask(client, stream, **options(model, mark("cited")))
    found = [citation for block in message.content if block.type == "text" for citation in block.citations or []]
    assert [citation.url for citation in found] == [story("cited").citation["url"]]


# ---- errors ----


def test_bad_key(stand, mark):
    stranger = anthropic.Anthropic(base_url=stand.url, api_key="nobody", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError) as refused:
        stranger.messages.create(**options(MODELS[0], mark("plain")))
    assert refused.value.body["type"] == "error" and refused.value.body["error"]["type"] == "authentication_error"
    assert refused.value.request_id == refused.value.body["request_id"]


def test_unknown_model(client, mark):
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(**options("claude-nothing", mark("plain")))
    assert missing.value.body["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("wrong", [{"messages": []}, {"max_tokens": 0}, {"tools": "x"}, {"system": 7}], ids=str)
def test_bad_parameters(client, mark, model, wrong):
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(**options(model, mark("plain")) | wrong)
    assert refused.value.body["error"]["type"] == "invalid_request_error" and refused.value.body["error"]["message"]


@pytest.mark.parametrize("model", MODELS)
def test_an_output_limit_is_always_sent_where_the_provider_demands_one(client, mark, model):
    given = options(model, mark("plain"))
    del given["max_tokens"]
    assert client.post("/v1/messages", cast_to=object, body=given)["stop_reason"] == "end_turn"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_errors_of_the_provider(client, mark, model, status, stream):
    classes = {400: anthropic.BadRequestError, 429: anthropic.RateLimitError, 500: anthropic.InternalServerError, 503: anthropic.APIStatusError}
    with pytest.raises(classes[status]) as error:
        ask(client, stream, **options(fresh(model, limited=status in (401, 403, 429)), mark(f"status-{status}")))
    failed = error.value
    # Older clients have a class of its own for 529.
    assert failed.status_code == {400: 400, 429: 429, 500: 500, 503: 529}[status]
    kinds = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error", 503: "overloaded_error"}
    assert failed.body["type"] == "error" and failed.body["error"]["type"] == kinds[status]
    assert failed.response.headers["request-id"] == failed.body["request_id"]
    if status == 429:
        assert failed.response.headers["retry-after"] == "7"


def test_an_overloaded_provider_is_told_so(client, mark):
    with pytest.raises(anthropic.APIStatusError) as error:
        client.messages.create(**options(fresh("anthropic"), mark("status-529")))
    assert error.value.status_code == 529 and error.value.body["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scenario", ["cut", "broken"])
def test_a_broken_stream_raises(client, mark, model, scenario):
    text = ""
    with pytest.raises(anthropic.APIError):
        with client.messages.stream(**options(fresh(model), mark(scenario))) as stream:
            for event in stream:
                assert event.type not in ("message_stop", "message_delta")
                text += event.text if event.type == "text" else ""
    assert text == story(scenario).text


@pytest.mark.parametrize("model", FAILING)
def test_a_cut_answer_raises(client, mark, model):
    with pytest.raises(anthropic.APIError):
        client.messages.create(**options(fresh(model), mark("cut")))


@pytest.mark.parametrize("model", FAILING)
def test_leaving_a_stream_stops_the_provider(client, mark, model):
    with client.messages.stream(**options(fresh(model), mark("slow"))) as stream:
        for event in stream:
            if event.type == "text":
                break
    assert mark.closed_within(5)


# ---- what is no conversation ----


@pytest.mark.parametrize("model", MODELS)
def test_count_tokens(client, model):
    counted = client.messages.count_tokens(model=model, messages=[{"role": "user", "content": "How many?"}], system="Be brief.")
    assert counted.input_tokens > 0
    if model.startswith("anthropic"):
        assert counted.input_tokens == 42, "the provider's own count"


def test_models(client):
    page = client.models.list()
    assert "anthropic/claude-sonnet-4-5" in [model.id for model in page.data]
    assert all(model.type == "model" and model.display_name for model in page.data)
    whole = [model.id for model in page.data]
    assert [model.id for model in client.models.list(limit=200)] == whole, "page by page"
    assert [model.id for model in client.models.list(limit=2).data] == whole[:2]
    assert [model.id for model in client.models.list(limit=2, before_id=whole[4]).data] == whole[2:4]
    with pytest.raises(anthropic.BadRequestError):
        client.models.list(after_id="nothing")
    assert client.models.retrieve("anthropic/claude-sonnet-4-5").id == "anthropic/claude-sonnet-4-5"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nothing")


@pytest.mark.skipif(not hasattr(anthropic.resources.messages, "Batches"), reason="this client has no batches")
def test_batches(client):
    model = "anthropic/claude-sonnet-4-5"
    asks = [{"custom_id": name, "params": options(model, f"scenario={name}")} for name in ("plain", "parallel")]
    made = client.messages.batches.create(requests=asks)
    assert (made.processing_status, made.request_counts.processing) == ("in_progress", 2)
    while client.messages.batches.retrieve(made.id).processing_status != "ended":
        pass
    results = {line.custom_id: line.result for line in client.messages.batches.results(made.id)}
    assert {name: result.type for name, result in results.items()} == {"plain": "succeeded", "parallel": "succeeded"}
    assert text_of(results["plain"].message) == story("plain").text
    usage_of(results["plain"].message.usage, "plain")
    assert len([block for block in results["parallel"].message.content if block.type == "tool_use"]) == len(story("parallel").calls)
    assert made.id in [batch.id for batch in client.messages.batches.list(limit=100)]
    other = client.messages.batches.create(requests=asks[:1])
    assert client.messages.batches.cancel(other.id).processing_status == "ended"
    # Nothing is removed before it is accounted; the client tries again where it is told to.
    assert client.with_options(max_retries=9).messages.batches.delete(made.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(made.id)
    mixed = [asks[0], {"custom_id": "x", "params": options("anthropic/claude-haiku-4-5", "scenario=plain")}]
    with pytest.raises(anthropic.BadRequestError, match="one model"):
        client.messages.batches.create(requests=mixed)
