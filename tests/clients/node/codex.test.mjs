// Codex itself, run as its users run it, against providers of several dialects.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { GATEWAY_KEY, GATEWAY_URL, Mark, story } from "./stand.mjs";

const codex = fileURLToPath(new URL("./node_modules/@openai/codex/bin/codex.js", import.meta.url));

function run(home, model, prompt) {
  const config = `
model = "${model}"
model_provider = "stellwerk"
[model_providers.stellwerk]
name = "Stellwerk"
base_url = "${GATEWAY_URL}/v1"
env_key = "STELLWERK_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
`;
  writeFileSync(join(home, "config.toml"), config);
  const flags = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json", "-o", join(home, "last"), prompt];
  const child = spawn(process.execPath, [codex, ...flags], { cwd: home, env: { ...process.env, CODEX_HOME: home, STELLWERK_KEY: GATEWAY_KEY }, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (out += data));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out })));
}

for (const model of ["openai/gpt-5-mini", "anthropic/claude-sonnet-4-5", "gemini/gemini-3.8-flash", "deepseek/deepseek-flash"]) {
  test(`codex exec ${model}`, async () => {
    const home = mkdtempSync(join(tmpdir(), "codex-"));
    const mark = new Mark();
    try {
      const { code, out } = await run(home, model, mark.say("command"));
      assert.equal(code, 0, out);
      assert.equal(readFileSync(join(home, "last"), "utf8").trim(), story("command").then);
      await mark.accepted();
      const [first, ...later] = await mark.all();
      assert.match(later.at(-1).raw, /stellwerk-42/, "what the command said came back");
      // Its groups of tools: as they are to OpenAI, one by one to others.
      const group = model.startsWith("openai/") ? /"type":"namespace"/ : /multi_agent_v1__spawn_agent/;
      assert.match(first.raw, group);
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  });
}
