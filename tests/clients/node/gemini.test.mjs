// Google's client for Node, against every provider dialect.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, GoogleGenAI } from "@google/genai";
import { DOT, GATEWAY_KEY, GATEWAY_URL, MODELS, Mark, PERSON, SIGNATURE, TOOLS, but, calls, fresher, story } from "./stand.mjs";

const fresh = fresher(110, 15);
const client = new GoogleGenAI({ apiKey: GATEWAY_KEY, httpOptions: { baseUrl: GATEWAY_URL } });
const tools = [{ functionDeclarations: Object.entries(TOOLS).map(([name, schema]) => ({ name, description: name, parametersJsonSchema: schema })) }];
const each = (title, models, body) => models.forEach((model) => test(`google-genai ${title} ${model}`, () => body(model, new Mark())));

async function streamed(given) {
  const parts = [];
  let last;
  for await (const chunk of await client.models.generateContentStream(given)) {
    parts.push(...(chunk.candidates?.[0]?.content?.parts ?? []));
    last = chunk;
  }
  return { parts, last, text: parts.filter((part) => !part.thought).map((part) => part.text ?? "").join("") };
}

each("plain", MODELS, async (model, mark) => {
  const answer = await client.models.generateContent({ model, contents: mark.say("plain") });
  assert.deepEqual([answer.text, answer.candidates[0].finishReason, answer.usageMetadata.totalTokenCount], [story("plain").text, "STOP", 59]);
  await mark.accepted();
});

each("stream", MODELS, async (model, mark) => {
  const { text, last } = await streamed({ model, contents: mark.say("plain") });
  assert.deepEqual([text, last.candidates[0].finishReason, last.usageMetadata.totalTokenCount], [story("plain").text, "STOP", 59]);
});

for (const scenario of ["tool", "parallel", "no-arguments", "drip"]) {
  each(`functions in a stream: ${scenario}`, MODELS, async (model, mark) => {
    const contents = [{ role: "user", parts: [{ text: mark.say(scenario) }] }];
    const { parts } = await streamed({ model, contents, config: { tools } });
    const made = parts.filter((part) => part.functionCall).map((part) => part.functionCall);
    assert.deepEqual(made.map((call) => [call.name, call.args ?? {}]), calls(scenario));
    const results = made.map(({ id, name }) => ({ functionResponse: { id, name, response: { result: "ok" } } }));
    contents.push({ role: "model", parts: parts.filter((part) => part.text || part.functionCall || part.thoughtSignature) }, { role: "user", parts: results });
    assert.equal((await client.models.generateContent({ model, contents, config: { tools } })).text, story(scenario).then);
    await mark.accepted();
  });
}

each("thinking with functions", but("cohere"), async (model, mark) => {
  const config = { tools, thinkingConfig: { includeThoughts: true, thinkingBudget: 2000 }, maxOutputTokens: 9000 };
  const contents = [{ role: "user", parts: [{ text: mark.say("think-tool") }] }];
  const answer = await client.models.generateContent({ model, contents, config });
  const { id, name } = answer.functionCalls[0];
  contents.push(answer.candidates[0].content, { role: "user", parts: [{ functionResponse: { id, name, response: { result: "sunny" } } }] });
  assert.equal((await client.models.generateContent({ model, contents, config })).text, story("think-tool").then);
  if (!model.startsWith("openai") && !model.startsWith("deepseek")) assert.ok((await mark.seen()).raw.includes(SIGNATURE));
  await mark.accepted();
});

each("structured output", MODELS, async (model, mark) => {
  const config = { responseMimeType: "application/json", responseJsonSchema: PERSON };
  assert.deepEqual(JSON.parse((await client.models.generateContent({ model, contents: mark.say("json"), config })).text), { name: "Ada", age: 36 });
  await mark.accepted();
});

each("image", but("cohere", "deepseek"), async (model, mark) => {
  const parts = [{ inlineData: { mimeType: "image/png", data: DOT } }, { text: mark.say("image") }];
  assert.equal((await client.models.generateContent({ model, contents: [{ role: "user", parts }] })).text, story("image").text);
  assert.ok((await mark.seen()).raw.includes(DOT));
});

for (const scenario of ["cut", "broken"]) {
  each(`${scenario} stream throws`, MODELS, async (model, mark) => {
    let text = "";
    await assert.rejects(async () => {
      for await (const chunk of await client.models.generateContentStream({ model: fresh(model), contents: mark.say(scenario) })) text += chunk.text ?? "";
    });
    assert.equal(text, story(scenario).text);
  });
}

each("errors of the provider", MODELS, async (model, mark) => {
  const failed = async (status, limited) => client.models.generateContent({ model: fresh(model, limited), contents: mark.say(`status-${status}`) }).catch((error) => error);
  const limited = await failed(429, true);
  assert.ok(limited instanceof ApiError && limited.status === 429 && limited.message.includes("RESOURCE_EXHAUSTED"));
  assert.equal((await failed(400)).status, 400);
  assert.ok((await failed(500)).status >= 500);
});

test("google-genai bad key, unknown model, counts, models", async () => {
  const stranger = new GoogleGenAI({ apiKey: "nobody", httpOptions: { baseUrl: GATEWAY_URL } });
  await assert.rejects(stranger.models.generateContent({ model: MODELS[0], contents: "hi" }), (error) => error.status === 401 || error.status === 400);
  await assert.rejects(client.models.generateContent({ model: "nothing", contents: "hi" }), (error) => error.status === 404);
  assert.equal((await client.models.countTokens({ model: "gemini/gemini-2.5-flash", contents: "How many?" })).totalTokens, 42);
  const names = [];
  for await (const model of await client.models.list()) names.push(model.name);
  assert.ok(names.includes("models/anthropic/claude-sonnet-4-5"));
});
