// Anthropic's client for Node, two majors, against every provider dialect.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic1 from "@anthropic-ai/sdk";
import Anthropic0 from "anthropic-0";
import { DOT, GATEWAY_KEY, GATEWAY_URL, MODELS, Mark, PERSON, SIGNATURE, TOOLS, but, calls, fresher, story } from "./stand.mjs";

const fresh = fresher(60, 9);
const tools = Object.entries(TOOLS).map(([name, input_schema]) => ({ name, input_schema }));
const text = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");

for (const [major, Anthropic] of [["1", Anthropic1], ["0", Anthropic0]]) {
  const client = new Anthropic({ baseURL: GATEWAY_URL, apiKey: GATEWAY_KEY, maxRetries: 0 });
  const each = (title, models, body) => models.forEach((model) => test(`anthropic ${major} ${title} ${model}`, () => body(model, new Mark())));
  const given = (model, said, more) => ({ model, max_tokens: 9000, system: "Be brief.", messages: [{ role: "user", content: said }], ...more });

  each("messages", MODELS, async (model, mark) => {
    const message = await client.messages.create(given(model, mark.say("plain")));
    const { usage } = story("plain");
    assert.deepEqual([text(message), message.stop_reason, message.role, message.type], [story("plain").text, "end_turn", "assistant", "message"]);
    assert.deepEqual([message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens], [usage.input - usage.cached, usage.cached, usage.output]);
    assert.match(message._request_id, /^req_/);
    await mark.accepted();
  });

  each("stream", MODELS, async (model, mark) => {
    const message = await client.messages.stream(given(model, mark.say("plain"))).finalMessage();
    assert.deepEqual([text(message), message.stop_reason, message.usage.output_tokens], [story("plain").text, "end_turn", 9]);
  });

  for (const scenario of ["tool", "parallel", "no-arguments", "drip"]) {
    each(`tools in a stream: ${scenario}`, MODELS, async (model, mark) => {
      const asked = given(model, mark.say(scenario), { tools });
      const message = await client.messages.stream(asked).finalMessage();
      const made = message.content.filter((block) => block.type === "tool_use");
      assert.deepEqual([made.map((call) => [call.name, call.input]), message.stop_reason], [calls(scenario), "tool_use"]);
      const results = made.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: "ok" }));
      asked.messages.push({ role: "assistant", content: message.content }, { role: "user", content: results });
      assert.equal(text(await client.messages.create(asked)), story(scenario).then);
      await mark.accepted();
    });
  }

  each("thinking with tools", but("cohere"), async (model, mark) => {
    const asked = given(model, mark.say("think-tool"), { tools, thinking: { type: "enabled", budget_tokens: 2000 } });
    const message = await client.messages.stream(asked).finalMessage();
    if (!model.startsWith("openai")) assert.equal(message.content.find((block) => block.type === "thinking").thinking, story("think-tool").reasoning);
    const results = [{ type: "tool_result", tool_use_id: message.content.at(-1).id, content: "sunny" }];
    asked.messages.push({ role: "assistant", content: message.content }, { role: "user", content: results });
    assert.equal(text(await client.messages.create(asked)), story("think-tool").then);
    if (!model.startsWith("openai") && !model.startsWith("deepseek")) assert.ok((await mark.seen()).raw.includes(SIGNATURE));
    await mark.accepted();
  });

  each("structured output", MODELS, async (model, mark) => {
    const message = await client.messages.create(given(model, mark.say("json"), { output_config: { format: { type: "json_schema", schema: PERSON } } }));
    assert.deepEqual(JSON.parse(text(message)), { name: "Ada", age: 36 });
    await mark.accepted();
  });

  each("image", but("cohere", "deepseek"), async (model, mark) => {
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: DOT } };
    const message = await client.messages.create(given(model, [image, { type: "text", text: mark.say("image") }]));
    assert.equal(text(message), story("image").text);
    assert.ok((await mark.seen()).raw.includes(DOT));
  });

  for (const scenario of ["cut", "broken"]) {
    each(`${scenario} stream throws`, MODELS, async (model, mark) => {
      let said = "";
      const stream = client.messages.stream(given(fresh(model), mark.say(scenario)));
      stream.on("text", (delta) => (said += delta)).on("error", () => {});
      await assert.rejects(stream.finalMessage());
      assert.equal(said, story(scenario).text);
    });
  }

  each("abort", MODELS, async (model, mark) => {
    const stream = await client.messages.create(given(fresh(model), mark.say("slow"), { stream: true }));
    for await (const event of stream) if (event.type === "content_block_delta") break;
    assert.ok(await mark.closedWithin(5));
  });

  each("errors of the provider", MODELS, async (model, mark) => {
    const failed = async (status, limited) => client.messages.create(given(fresh(model, limited), mark.say(`status-${status}`))).catch((error) => error);
    const limited = await failed(429, true);
    assert.ok(limited instanceof Anthropic.RateLimitError);
    assert.deepEqual([limited.error.error.type, limited.headers.get("retry-after")], ["rate_limit_error", "7"]);
    const wrong = await failed(400);
    assert.ok(wrong instanceof Anthropic.BadRequestError && wrong.error.error.type === "invalid_request_error");
    const down = await failed(500);
    assert.ok(down.status >= 500 && down.error.error.type === "api_error" && down.requestID === down.error.request_id);
  });

  test(`anthropic ${major} bad key, unknown model, counts, models`, async () => {
    const stranger = new Anthropic({ baseURL: GATEWAY_URL, apiKey: "nobody", maxRetries: 0 });
    await assert.rejects(stranger.messages.create(given(MODELS[0], "hi")), Anthropic.AuthenticationError);
    await assert.rejects(client.messages.create(given("nothing", "hi")), (error) => error instanceof Anthropic.NotFoundError && error.error.error.type === "not_found_error");
    const messages = [{ role: "user", content: "How many?" }];
    assert.equal((await client.messages.countTokens({ model: "anthropic/claude-sonnet-4-5", messages })).input_tokens, 42);
    assert.ok((await client.messages.countTokens({ model: "gemini/gemini-3.8-flash", messages })).input_tokens > 0);
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.ok(ids.includes("openai/gpt-5-mini"));
    assert.equal((await client.models.retrieve("openai/gpt-5-mini")).type, "model");
  });
}
