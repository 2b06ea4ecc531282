// What the tests share: the stand, whose addresses the environment tells, and the stories that its providers play.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export const { GATEWAY_URL, GATEWAY_KEY, DOUBLE_URL } = process.env;
export const stories = JSON.parse(readFileSync(new URL("../double/stories.json", import.meta.url)));
const COMMON = { input: 50, cached: 20, output: 9, reasoning: 0 };
export const story = (name) => ({ text: "", reasoning: "", calls: [], usage: COMMON, ...stories[name] });

// One model of each provider's dialect.
export const MODELS = [
  "openai/gpt-5-mini", "responses-0/gpt-5", "anthropic/claude-sonnet-4-5", "gemini/gemini-3.8-flash", "deepseek/deepseek-flash",
  "bedrock/anthropic.claude-sonnet-4-5", "cohere/command-a",
];
export const but = (...without) => MODELS.filter((model) => !without.some((name) => model.startsWith(name)));

// A model, and with `limited` a key, of the same provider that no test has used: what fails there rests there.
export function fresher(models, keys) {
  let [model, key] = [models, keys];
  return (of, limited = false) => {
    const provider = of.split("/")[0].split("-")[0];
    return limited ? `${provider}-${key++}/x` : `${provider}-0/m${model++}`;
  };
}

let tags = 0;
export class Mark {
  tag = `n${process.pid}-${tags++}`;
  say = (scenario) => `scenario=${scenario} tag=${this.tag}`;
  async all() {
    return (await fetch(`${DOUBLE_URL}/seen/${this.tag}`)).json();
  }
  async seen() {
    const all = await this.all();
    assert.ok(all.length, "nothing arrived at a provider");
    return all.at(-1);
  }
  async accepted() {
    for (const seen of await this.all()) assert.equal(seen.refused, undefined);
  }
  async closedWithin(seconds) {
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(20)) if ((await this.seen()).closed) return true;
    return false;
  }
}

const closed = (properties) => ({ type: "object", properties, required: Object.keys(properties), additionalProperties: false });
export const TOOLS = {
  get_weather: closed({ city: { type: "string" }, unit: { type: "string", enum: ["celsius", "fahrenheit"] } }),
  get_time: closed({ zone: { type: "string" } }),
  ping: closed({}),
};
export const PERSON = closed({ name: { type: "string" }, age: { type: "integer" } });
export const DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJgggAA++++///+";
export const SIGNATURE = "RXFyb3VnaCBzaWduYXR1cm";
export const calls = (name) => story(name).calls.map(([name, raw]) => [name, JSON.parse(raw)]);
