// Vercel's AI SDK: its OpenAI provider on both APIs, the compatible one, Anthropic's and Google's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, embedMany, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { DOT, GATEWAY_KEY, GATEWAY_URL, MODELS, Mark, but, fresher, story } from "./stand.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const fresh = fresher(140, 18);
const v1 = { baseURL: `${GATEWAY_URL}/v1`, apiKey: GATEWAY_KEY };
const openai = createOpenAI(v1);
const clients = {
  responses: (model) => openai(model),
  chat: (model) => openai.chat(model),
  compatible: createOpenAICompatible({ ...v1, name: "stellwerk", includeUsage: true, supportsStructuredOutputs: true }),
  anthropic: createAnthropic(v1),
  google: createGoogleGenerativeAI({ baseURL: `${GATEWAY_URL}/v1beta`, apiKey: GATEWAY_KEY }),
};
const get_weather = tool({
  description: "The weather",
  inputSchema: z.object({ city: z.string(), unit: z.enum(["celsius", "fahrenheit"]) }),
  execute: async ({ city }) => `sunny in ${city}`,
});
const get_time = tool({ description: "The time", inputSchema: z.object({ zone: z.string() }), execute: async ({ zone }) => `noon in ${zone}` });

for (const [kind, client] of Object.entries(clients)) {
  const each = (title, models, body) => models.forEach((model) => test(`ai ${kind} ${title} ${model}`, () => body(client(model), new Mark(), model)));

  each("text", MODELS, async (model, mark) => {
    const { text, finishReason, usage } = await generateText({ model, prompt: mark.say("plain"), maxRetries: 0 });
    assert.deepEqual([text, finishReason, usage.inputTokens, usage.outputTokens], [story("plain").text, "stop", 50, 9]);
    await mark.accepted();
  });

  each("tools in a stream", MODELS, async (model, mark) => {
    const run = streamText({ model, prompt: mark.say("parallel"), tools: { get_weather, get_time }, stopWhen: stepCountIs(3), maxRetries: 0 });
    let text = "";
    for await (const part of run.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") text += part.text;
    }
    assert.ok(text.endsWith(story("parallel").then), text);
    assert.deepEqual([(await run.steps).length, await run.finishReason], [2, "stop"]);
    await mark.accepted();
  });

  each("object", MODELS, async (model, mark) => {
    const schema = z.object({ name: z.string(), age: z.number() });
    const { output } = await generateText({ model, prompt: mark.say("json"), output: Output.object({ schema }), maxRetries: 0 });
    assert.deepEqual(output, { name: "Ada", age: 36 });
    await mark.accepted();
  });

  each("image", but("cohere", "deepseek"), async (model, mark) => {
    const content = [{ type: "text", text: mark.say("image") }, { type: "file", data: Buffer.from(DOT, "base64"), mediaType: "image/png" }];
    const { text } = await generateText({ model, messages: [{ role: "user", content }], maxRetries: 0 });
    assert.equal(text, story("image").text);
  });

  each("reasoning", but("cohere", "openai"), async (model, mark) => {
    // Gemini shows no thoughts that were not asked for.
    const providerOptions = { google: { thinkingConfig: { includeThoughts: true } } };
    const { text, reasoningText } = await generateText({ model, prompt: mark.say("think"), maxRetries: 0, providerOptions });
    assert.equal(text, "42");
    // Its Chat Completions client has no place for reasoning.
    if (kind !== "chat") assert.equal(reasoningText, story("think").reasoning);
  });

  for (const of of ["openai", "anthropic", "gemini"]) {
    test(`ai ${kind} ${of} broken stream and error`, async () => {
      const errors = [];
      const run = streamText({ model: client(fresh(of)), prompt: new Mark().say("cut"), maxRetries: 0, onError: ({ error }) => errors.push(error) });
      for await (const part of run.fullStream) if (part.type === "finish") assert.equal(part.finishReason, "error");
      assert.ok(errors.length > 0);
      const failed = await generateText({ model: client(fresh(of)), prompt: new Mark().say("status-400"), maxRetries: 0 }).catch((error) => error);
      assert.equal(failed.statusCode, 400);
      assert.match(failed.message, /the provider says 400/);
    });
  }
}

test("ai embeddings", async () => {
  const { embeddings } = await embedMany({ model: openai.embeddingModel("openai/text-embedding-3-small"), values: ["one", "two"] });
  assert.deepEqual(embeddings, [[0.25, -0.5, 1], [0.25, -0.5, 1]]);
});
