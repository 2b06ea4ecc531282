"""Google's client, against every provider dialect."""

import base64
import json

import pytest
from kit import arguments, but, DOT, FAILING, fresh, MODELS, PERSON, story, TOOLS
from google import genai
from google.genai import errors, types

DECLARED = [types.Tool(function_declarations=[types.FunctionDeclaration(name=name, description=name, parameters_json_schema=schema) for name, schema in TOOLS.items()])]
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)


@pytest.fixture(scope="module")
def client(stand):
    return genai.Client(api_key=stand.key, http_options=types.HttpOptions(base_url=stand.url))


def config(**more):
    return types.GenerateContentConfig(system_instruction="Be brief.", automatic_function_calling=BY_HAND, **more)


class Answer:
    """A whole or streamed answer, put together."""

    def __init__(self, client, stream, model, contents, given):
        if stream:
            chunks = list(client.models.generate_content_stream(model=model, contents=contents, config=given))
        else:
            chunks = [client.models.generate_content(model=model, contents=contents, config=given)]
        self.parts, self.finishes, self.citations = [], [], []
        for chunk in chunks:
            for candidate in chunk.candidates or []:
                self.parts += (candidate.content.parts if candidate.content else None) or []
                self.finishes += [candidate.finish_reason] if candidate.finish_reason else []
                grounding = candidate.grounding_metadata
                self.citations += [found.web.uri for found in (grounding.grounding_chunks if grounding else None) or []]
        self.text = "".join(part.text or "" for part in self.parts if not part.thought)
        self.thinking = "".join(part.text or "" for part in self.parts if part.thought)
        self.calls = [part.function_call for part in self.parts if part.function_call]
        self.usage = chunks[-1].usage_metadata
        self.id, self.version = chunks[-1].response_id, chunks[-1].model_version
        self.content = types.Content(role="model", parts=[part for part in self.parts if part.text or part.function_call or part.thought_signature])


def usage_of(told, name, counts_thinking=True):
    expected = story(name).usage
    thoughts = told.thoughts_token_count or 0
    assert (told.prompt_token_count, told.cached_content_token_count or 0) == (expected["input"], expected["cached"])
    assert (told.candidates_token_count or 0) + thoughts == expected["output"]
    assert told.total_token_count == expected["input"] + expected["output"]
    if counts_thinking:
        assert thoughts == expected["reasoning"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_plain(client, mark, model, stream):
    got = Answer(client, stream, model, mark("plain"), config())
    assert (got.text, got.finishes) == (story("plain").text, [types.FinishReason.STOP])
    assert got.id and got.version
    usage_of(got.usage, "plain")
    assert "refused" not in mark.seen() and mark.count() == 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scenario", ["tool", "parallel", "no-arguments", "big-number", "drip"])
def test_function_loop(client, mark, model, stream, scenario):
    turns = [types.Content(role="user", parts=[types.Part(text=mark(scenario))])]
    got = Answer(client, stream, model, turns, config(tools=DECLARED))
    assert got.text == story(scenario).text or model.startswith("cohere")
    assert [(call.name, call.args) for call in got.calls] == list(zip([name for name, _ in story(scenario).calls], arguments(scenario)))
    assert got.finishes == [types.FinishReason.STOP]
    results = [types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": "ok"})) for call in got.calls]
    turns += [got.content, types.Content(role="user", parts=results)]
    last = Answer(client, stream, model, turns, config(tools=DECLARED))
    assert (last.text, last.finishes) == (story(scenario).then, [types.FinishReason.STOP])
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
def test_results_without_ids(client, mark, model):
    """Clients of older models know no ids: results belong to calls by name and order."""
    turns = [types.Content(role="user", parts=[types.Part(text=mark("parallel"))])]
    got = Answer(client, False, model, turns, config(tools=DECLARED))
    said = [types.Part(function_call=types.FunctionCall(name=call.name, args=call.args)) for call in got.calls]
    results = [types.Part.from_function_response(name=call.name, response={"result": "ok"}) for call in got.calls]
    turns += [types.Content(role="model", parts=said), types.Content(role="user", parts=results)]
    if model == "gemini/gemini-3.8-flash":
        return  # bytes pass, and that model wants its signature
    assert Answer(client, False, model, turns, config(tools=DECLARED)).text == story("parallel").then


@pytest.mark.parametrize("model", MODELS)
def test_automatic_function_calling(client, mark, model):
    asked = []

    def get_weather(city: str, unit: str) -> str:
        """The weather of a city."""
        asked.append((city, unit))
        return "sunny"

    answer = client.models.generate_content(model=model, contents=mark("tool"), config=types.GenerateContentConfig(tools=[get_weather]))
    assert asked == [("Paris", "celsius")] and answer.text == story("tool").then


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("mode", ["AUTO", "ANY", "NONE"])
def test_function_calling_modes(client, mark, model, mode):
    calling = types.FunctionCallingConfig(mode=mode, allowed_function_names=["get_weather"] if mode == "ANY" else None)
    client.models.generate_content(model=model, contents=mark("plain"), config=config(tools=DECLARED, tool_config=types.ToolConfig(function_calling_config=calling)))
    assert "refused" not in mark.seen()


@pytest.mark.parametrize("model", but("cohere"))
@pytest.mark.parametrize("stream", [False, True])
def test_thinking(client, mark, model, stream):
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=2000)
    got = Answer(client, stream, model, mark("think"), config(thinking_config=thinking, max_output_tokens=9000))
    assert got.text == "42" and "refused" not in mark.seen()
    if not model.startswith("openai"):
        assert got.thinking == story("think").reasoning
    usage_of(got.usage, "think", counts_thinking=not model.startswith("bedrock"))


@pytest.mark.parametrize("model", but("cohere"))
@pytest.mark.parametrize("stream", [False, True])
def test_thinking_with_functions_keeps_signatures(client, mark, model, stream):
    given = config(tools=DECLARED, thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=2000), max_output_tokens=9000)
    turns = [types.Content(role="user", parts=[types.Part(text=mark("think-tool"))])]
    got = Answer(client, stream, model, turns, given)
    call = got.calls[0]
    result = types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": "sunny"}))
    turns += [got.content, types.Content(role="user", parts=[result])]
    assert Answer(client, stream, model, turns, given).text == "It is sunny in Paris."
    assert "refused" not in mark.seen()
    if not model.startswith(("openai", "deepseek")):
        assert "RXFyb3VnaCBzaWduYXR1cmU" in mark.seen()["raw"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", ["schema", "json_schema"])
def test_structured_output(client, mark, model, stream, way):
    if way == "schema":
        schema = types.Schema(type="OBJECT", properties={"name": types.Schema(type="STRING"), "age": types.Schema(type="INTEGER")}, required=["name", "age"], property_ordering=["name", "age"])
        given = config(response_mime_type="application/json", response_schema=schema)
    else:
        given = config(response_mime_type="application/json", response_json_schema=PERSON)
    got = Answer(client, stream, model, mark("json"), given)
    assert json.loads(got.text) == {"name": "Ada", "age": 36}
    assert "refused" not in mark.seen() and "age" in mark.seen()["raw"]


@pytest.mark.parametrize("model", but("cohere", "deepseek"))
def test_image(client, mark, model):
    image = types.Part.from_bytes(data=base64.b64decode(DOT), mime_type="image/png")
    got = Answer(client, False, model, [types.Content(role="user", parts=[image, types.Part(text=mark("image"))])], config())
    assert got.text == story("image").text
    # The client writes the letters of URLs. Others know the usual ones only; bytes of the same dialect pass.
    written = DOT.replace("+", "-").replace("/", "_") if model.startswith("gemini") else DOT
    assert DOT != DOT.replace("+", "-") and written in mark.seen()["raw"] and "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
def test_a_file_of_text_is_text(client, mark, model):
    text = types.Part.from_bytes(data="Käse, Brot ➕ Wein".encode(), mime_type="text/csv")
    if model.startswith("gemini"):
        pytest.skip("bytes of the same dialect pass")
    got = Answer(client, False, model, [types.Content(role="user", parts=[text, types.Part(text=mark("plain"))])], config())
    assert got.text == story("plain").text and "Käse, Brot ➕ Wein" in json.dumps(mark.seen()["body"], ensure_ascii=False)


@pytest.mark.skipif(not hasattr(types, "FunctionResponsePart"), reason="this client shows no images in results")
@pytest.mark.parametrize("model", but("gemini", "cohere", "deepseek"))
def test_an_image_in_the_result_of_a_function(client, mark, model):
    blob = types.FunctionResponseBlob(data=base64.b64decode(DOT), mime_type="image/png")
    shown = types.FunctionResponse(name="ping", response={"result": "here"}, parts=[types.FunctionResponsePart(inline_data=blob)])
    turns = [
        types.Content(role="user", parts=[types.Part(text=mark("no-arguments"))]),
        types.Content(role="model", parts=[types.Part(function_call=types.FunctionCall(name="ping", args={}))]),
        types.Content(role="user", parts=[types.Part(function_response=shown)]),
    ]
    assert Answer(client, False, model, turns, config(tools=DECLARED)).text == story("no-arguments").then
    assert DOT in mark.seen()["raw"] and "refused" not in mark.seen()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scenario,reason", [("length", "MAX_TOKENS"), ("refused", "SAFETY"), ("empty", "STOP")])
def test_finish_reasons(client, mark, model, stream, scenario, reason):
    got = Answer(client, stream, model, mark(scenario), config())
    assert (got.text, [finish.name for finish in got.finishes]) == (story(scenario).text, [reason])


@pytest.mark.parametrize("model", MODELS)
def test_sampling_arrives_or_is_refused_by_name(client, mark, model):
    client.models.generate_content(model=model, contents=mark("plain"), config=config(temperature=0.5, top_p=0.9, max_output_tokens=77))
    raw = mark.seen()["raw"]
    assert "0.5" in raw and "0.9" in raw and "77" in raw
    for name, value in {"topK": 40, "seed": 7, "presencePenalty": 0.25, "candidateCount": 2, "stopSequences": ["halt"]}.items():
        before = mark.count()
        snake = {"topK": "top_k", "seed": "seed", "presencePenalty": "presence_penalty", "candidateCount": "candidate_count", "stopSequences": "stop_sequences"}[name]
        try:
            client.models.generate_content(model=model, contents=mark("plain"), config=config(**{snake: value}))
        except errors.ClientError as refused:
            assert refused.code == 400 and ((name in str(refused)) or (name == "candidateCount" and "`n`" in str(refused))) and mark.count() == before
        else:
            assert str(value).strip("[]'") in mark.seen()["raw"], f"{name} was dropped in silence"


def test_safety_settings_to_others_are_refused_or_listed(client, mark):
    setting = types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_ONLY_HIGH")
    client.models.generate_content(model="gemini/gemini-2.5-flash", contents=mark("plain"), config=config(safety_settings=[setting]))
    assert "BLOCK_ONLY_HIGH" in mark.seen()["raw"]


def test_the_same_dialect_passes(client, mark):
    body = {"contents": [{"role": "user", "parts": [{"text": mark("plain")}]}], "generationConfig": {"xUnknown": 9007199254740993}}
    client._api_client.request("post", "models/gemini/gemini-2.5-flash:generateContent", body)
    assert "9007199254740993" in mark.seen()["raw"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
def test_citations(client, mark, model, stream):
    if model.startswith(("bedrock", "cohere", "deepseek")):
        pytest.skip("the double tells none there")
    assert Answer(client, stream, model, mark("cited"), config()).citations == [story("cited").citation["url"]]


@pytest.mark.parametrize("model", ["openai/gpt-4o-mini", "gemini-0/gemini-2.5-flash", "responses-0/gpt-5"])
def test_logprobs(client, mark, model):
    answer = client.models.generate_content(model=model, contents=mark("logprobs"), config=config(response_logprobs=True, logprobs=2))
    result = answer.candidates[0].logprobs_result
    assert [(chosen.token, chosen.log_probability) for chosen in result.chosen_candidates] == [("Yes", -0.25)]
    assert [(top.token, top.log_probability) for top in result.top_candidates[0].candidates] == [("Yes", -0.25), ("No", -1.5)]


# ---- errors ----


def test_bad_key(stand, mark):
    stranger = genai.Client(api_key="nobody", http_options=types.HttpOptions(base_url=stand.url))
    with pytest.raises(errors.ClientError) as refused:
        stranger.models.generate_content(model=MODELS[0], contents=mark("plain"))
    assert refused.value.code in (400, 401) and refused.value.status in ("UNAUTHENTICATED", "INVALID_ARGUMENT")
    assert "key" in refused.value.message.lower()


def test_unknown_model(client, mark):
    with pytest.raises(errors.ClientError) as missing:
        client.models.generate_content(model="gemini-nothing", contents=mark("plain"))
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")


@pytest.mark.parametrize("model", MODELS)
def test_bad_parameters(client, mark, model):
    for body in [{"contents": []}, {"contents": 7}, {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"temperature": "hot"}}]:
        with pytest.raises(errors.ClientError) as refused:
            client._api_client.request("post", f"models/{model}:generateContent", body)
        assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT") and refused.value.message


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_errors_of_the_provider(client, mark, model, status, stream):
    names = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED"}
    with pytest.raises(errors.ClientError if status < 500 else errors.ServerError) as error:
        Answer(client, stream, fresh(model, limited=status in (401, 403, 429)), mark(f"status-{status}"), config())
    if status < 500:
        assert (error.value.code, error.value.status) == (status, names[status])
    else:
        assert error.value.code >= 500 and error.value.status in ("INTERNAL", "UNAVAILABLE")
    if status == 429:
        assert "7s" in json.dumps(error.value.details), error.value.details


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("scenario", ["cut", "broken"])
def test_a_broken_stream_raises(client, mark, model, scenario):
    text = ""
    with pytest.raises(Exception) as error:
        for chunk in client.models.generate_content_stream(model=fresh(model), contents=mark(scenario), config=config()):
            text += chunk.text or ""
            assert not chunk.candidates[0].finish_reason
    assert isinstance(error.value, errors.APIError) or "httpx" in type(error.value).__module__
    assert text == story(scenario).text


@pytest.mark.parametrize("model", FAILING)
def test_leaving_a_stream_stops_the_provider(client, mark, model):
    stream = client.models.generate_content_stream(model=fresh(model), contents=mark("slow"), config=config())
    for chunk in stream:
        if chunk.text:
            break
    stream.close()
    assert mark.closed_within(5)


# ---- what is no conversation ----


@pytest.mark.parametrize("model", MODELS)
def test_count_tokens(client, model):
    counted = client.models.count_tokens(model=model, contents="How many?").total_tokens
    assert counted == 42 if model.startswith("gemini") else counted > 0


def test_models(client):
    names = [model.name for model in client.models.list()]
    assert "models/gemini/gemini-2.5-flash" in names
    pages = client.models.list(config={"page_size": 200})
    assert len(pages.page) == 200
    assert [model.name for model in pages] == names, "page by page"
    one = client.models.get(model="gemini/gemini-2.5-flash")
    assert one.name == "models/gemini/gemini-2.5-flash"
    with pytest.raises(errors.ClientError):
        client.models.get(model="nothing")
