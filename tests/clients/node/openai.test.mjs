// OpenAI's client for Node, two majors, on both of its APIs, against every provider dialect.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI7 from "openai";
import OpenAI6 from "openai-6";
import { DOT, GATEWAY_KEY, GATEWAY_URL, MODELS, Mark, PERSON, SIGNATURE, TOOLS, but, calls, fresher, story } from "./stand.mjs";

const fresh = fresher(0, 1);
const chatTools = Object.entries(TOOLS).map(([name, parameters]) => ({ type: "function", function: { name, parameters } }));
const tools = Object.entries(TOOLS).map(([name, parameters]) => ({ type: "function", name, parameters, strict: true }));
const say = (content) => [{ role: "user", content }];

for (const [major, OpenAI] of [["7", OpenAI7], ["6", OpenAI6]]) {
  const options = { baseURL: `${GATEWAY_URL}/v1`, apiKey: GATEWAY_KEY, maxRetries: 0 };
  const client = new OpenAI(options);
  const each = (title, models, body) => models.forEach((model) => test(`openai ${major} ${title} ${model}`, () => body(model, new Mark())));

  each("chat", MODELS, async (model, mark) => {
    const answer = await client.chat.completions.create({ model, messages: say(mark.say("plain")) });
    const { usage } = story("plain");
    assert.equal(answer.choices[0].message.content, story("plain").text);
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.deepEqual([answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens], [usage.input, usage.output, usage.input + usage.output]);
    assert.equal(answer.usage.prompt_tokens_details.cached_tokens, usage.cached);
    assert.match(answer._request_id, /^req_/);
    await mark.accepted();
  });

  each("chat stream", MODELS, async (model, mark) => {
    const stream = client.chat.completions.stream({ model, messages: say(mark.say("plain")), stream_options: { include_usage: true } });
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices[0].message.content, story("plain").text);
    assert.equal(final.usage.total_tokens, 59);
  });

  for (const scenario of ["tool", "parallel", "no-arguments", "drip"]) {
    each(`chat tools in a stream: ${scenario}`, MODELS, async (model, mark) => {
      const messages = say(mark.say(scenario));
      const stream = client.chat.completions.stream({ model, messages, tools: chatTools });
      const { message, finish_reason } = (await stream.finalChatCompletion()).choices[0];
      assert.equal(finish_reason, "tool_calls");
      assert.deepEqual(message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]), calls(scenario));
      messages.push(message, ...message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "ok" })));
      const last = await client.chat.completions.create({ model, messages, tools: chatTools });
      assert.equal(last.choices[0].message.content, story(scenario).then);
      await mark.accepted();
    });
  }

  each("chat structured output", MODELS, async (model, mark) => {
    const response_format = { type: "json_schema", json_schema: { name: "person", strict: true, schema: PERSON } };
    const answer = await client.chat.completions.create({ model, messages: say(mark.say("json")), response_format });
    assert.deepEqual(JSON.parse(answer.choices[0].message.content), { name: "Ada", age: 36 });
    await mark.accepted();
  });

  each("chat reasoning", but("cohere"), async (model, mark) => {
    const answer = await client.chat.completions.create({ model, messages: say(mark.say("think")), reasoning_effort: "high", max_completion_tokens: 8000 });
    const { message } = answer.choices[0];
    assert.equal(message.content, "42");
    if (!model.startsWith("openai")) assert.equal(message.reasoning_content, story("think").reasoning);
    if (!model.startsWith("bedrock")) assert.equal(answer.usage.completion_tokens_details.reasoning_tokens, 12);
  });

  each("chat image", but("cohere", "deepseek"), async (model, mark) => {
    const content = [{ type: "text", text: mark.say("image") }, { type: "image_url", image_url: { url: `data:image/png;base64,${DOT}` } }];
    const answer = await client.chat.completions.create({ model, messages: [{ role: "user", content }] });
    assert.equal(answer.choices[0].message.content, story("image").text);
    assert.ok((await mark.seen()).raw.includes(DOT));
  });

  for (const scenario of ["cut", "broken"]) {
    each(`chat ${scenario} stream throws`, MODELS, async (model, mark) => {
      let text = "";
      await assert.rejects(async () => {
        for await (const chunk of await client.chat.completions.create({ model: fresh(model), messages: say(mark.say(scenario)), stream: true })) {
          text += chunk.choices[0]?.delta.content ?? "";
          assert.ok(!chunk.choices[0]?.finish_reason);
        }
      }, OpenAI.APIError);
      assert.equal(text, story(scenario).text);
    });
  }

  each("chat abort", MODELS, async (model, mark) => {
    const stream = await client.chat.completions.create({ model: fresh(model), messages: say(mark.say("slow")), stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    assert.ok(await mark.closedWithin(5));
  });

  each("errors of the provider", MODELS, async (model, mark) => {
    const failed = async (status, limited) => {
      try {
        await client.chat.completions.create({ model: fresh(model, limited), messages: say(mark.say(`status-${status}`)) });
      } catch (error) {
        return error;
      }
    };
    const limited = await failed(429, true);
    assert.ok(limited instanceof OpenAI.RateLimitError);
    assert.deepEqual([limited.code, limited.headers.get("retry-after")], ["rate_limit_exceeded", "7"]);
    const wrong = await failed(400);
    assert.ok(wrong instanceof OpenAI.BadRequestError && wrong.message.includes("the provider says 400") && wrong.type === "invalid_request_error");
    const down = await failed(500);
    assert.ok(down instanceof OpenAI.InternalServerError && /^req_/.test(down.requestID));
  });

  test(`openai ${major} bad key, unknown model, wrong parameter`, async () => {
    const stranger = new OpenAI({ ...options, apiKey: "sk-nobody" });
    const ask = (who, more) => who.chat.completions.create({ model: MODELS[0], messages: say("hi"), ...more });
    await assert.rejects(ask(stranger, {}), (error) => error instanceof OpenAI.AuthenticationError && error.code === "invalid_api_key");
    await assert.rejects(ask(client, { model: "nothing" }), (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found" && error.param === "model");
    await assert.rejects(ask(client, { temperature: "hot" }), (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature");
  });

  each("responses", MODELS, async (model, mark) => {
    const answer = await client.responses.create({ model, input: mark.say("plain"), instructions: "Be brief." });
    assert.deepEqual([answer.output_text, answer.status, answer.usage.total_tokens], [story("plain").text, "completed", 59]);
    await mark.accepted();
  });

  for (const scenario of ["tool", "parallel"]) {
    each(`responses tools in a stream: ${scenario}`, MODELS, async (model, mark) => {
      const input = [{ role: "user", content: mark.say(scenario) }];
      const stream = client.responses.stream({ model, input, tools });
      const answer = await stream.finalResponse();
      const made = answer.output.filter((item) => item.type === "function_call");
      assert.deepEqual(made.map((call) => [call.name, JSON.parse(call.arguments)]), calls(scenario));
      // The helper adds what was parsed, which the API itself does not take back.
      input.push(...answer.output.map(({ parsed_arguments, ...item }) => item));
      input.push(...made.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: "ok" })));
      assert.equal((await client.responses.create({ model, input, tools })).output_text, story(scenario).then);
      await mark.accepted();
    });
  }

  each("responses reasoning with tools", but("cohere"), async (model, mark) => {
    const given = { model, tools, reasoning: { effort: "medium", summary: "auto" }, include: ["reasoning.encrypted_content"], store: false, max_output_tokens: 9000 };
    const input = [{ role: "user", content: mark.say("think-tool") }];
    const answer = await client.responses.create({ ...given, input });
    input.push(...answer.output, { type: "function_call_output", call_id: answer.output.at(-1).call_id, output: "sunny" });
    assert.equal((await client.responses.create({ ...given, input })).output_text, story("think-tool").then);
    if (!model.startsWith("deepseek")) assert.ok((await mark.seen()).raw.includes(SIGNATURE));
    await mark.accepted();
  });

  each("responses structured output", MODELS, async (model, mark) => {
    const text = { format: { type: "json_schema", name: "person", strict: true, schema: PERSON } };
    assert.deepEqual(JSON.parse((await client.responses.create({ model, input: mark.say("json"), text })).output_text), { name: "Ada", age: 36 });
  });

  for (const scenario of ["cut", "broken"]) {
    each(`responses ${scenario} stream fails`, MODELS, async (model, mark) => {
      let [failed, text] = [false, ""];
      try {
        for await (const event of await client.responses.create({ model: fresh(model), input: mark.say(scenario), stream: true })) {
          text += event.type === "response.output_text.delta" ? event.delta : "";
          failed ||= event.type === "response.failed" || event.type === "error";
          assert.notEqual(event.type, "response.completed");
        }
      } catch (error) {
        assert.ok(error instanceof OpenAI.APIError, error);
        failed = true;
      }
      assert.deepEqual([failed, text], [true, story(scenario).text]);
    });
  }

  test(`openai ${major} models and embeddings`, async () => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.ok(ids.includes("anthropic/claude-sonnet-4-5"));
    assert.equal((await client.models.retrieve("openai/gpt-5-mini")).id, "openai/gpt-5-mini");
    const answer = await client.embeddings.create({ model: "openai/text-embedding-3-small", input: ["one", "two"] });
    assert.deepEqual(answer.data.map((item) => item.embedding), [[0.25, -0.5, 1], [0.25, -0.5, 1]]);
  });
}
