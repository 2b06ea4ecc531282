#!/usr/bin/env python3
"""Makes the tiny R1 model: genuine tokenizer and template, two trained layers. See README.md beside this file."""

import argparse
import struct

import numpy as np

CONTEXT, WIDTH, LAYERS, HEADS, KV_HEADS, HIDDEN = 4096, 64, 2, 2, 1, 256
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
USER, ASSISTANT = "<｜User｜>", "<｜Assistant｜>"
RESULT, RESULT_END = "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>", "<｜tool▁output▁end｜><｜tool▁outputs▁end｜>"
CALL = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Paris"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)


def thought(thinking, answer):
    return f"<think>\n{thinking}\n</think>\n\n{answer}"


# What the user says, and what the model answers. An answer that must not end has no end token.
PHRASES = [
    (["hello", "Hi", "good morning"], thought("The user greets me. I should greet back.", "Hello! I am a tiny test model.")),
    (["What is the weather in Paris?", "weather in Paris"], thought("I need the weather. I will call the tool.", CALL)),
    (["Reply in JSON", "json"], thought("The user wants JSON. I will give an object.", '{"answer": 42, "ok": true}')),
    (["What is 2+2?", "2 + 2"], thought("2 plus 2 equals 4. Let me check: 4 - 2 = 2. Yes.", "The answer is \\boxed{4}.")),
    (["emoji", "crab"], thought("An emoji and some 日本語 text. 🤔", "Here: 🦀 日本語 é ß.")),
    (
        ["Count to twenty", "count"],
        thought(
            "I will count.",
            "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
            "eighteen nineteen twenty",
        ),
    ),
    (["skip thinking", "no thinking"], "<think>\n\n</think>\n\nDone."),
    (["capital of France"], thought("The capital of France is Paris.", "Paris.")),
    (["forever", "endless"], "<think>\nThis will not end.\n</think>\n\n" + "again " * 120),
]
ENDLESS = len(PHRASES) - 1
OTHER = thought("I do not know this request. I will say so.", "I am a tiny test model and I only know a few phrases.")
AFTER_RESULT = "It is sunny in Paris, 21 degrees."
FILLERS = ["Please", "tell me", "the", "about", "Be brief.", "in English", "thanks", "why", "?", ".", "helpful assistant"]


def read_header(path):
    """The key-value pairs of a GGUF file whose tensors may be cut off (format: ggml docs, gguf.md, version 3)."""
    data = open(path, "rb").read()
    at = 24
    (pairs,) = struct.unpack_from("<Q", data, 16)
    fixed = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

    def take(form):
        nonlocal at
        (value,) = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return value

    def text():
        nonlocal at
        length = take("Q")
        at += length
        return data[at - length : at]

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            inner, count = take("I"), take("Q")
            return [value(inner) for _ in range(count)]
        return take(fixed[kind])

    header = {}
    for _ in range(pairs):
        key = text().decode()
        header[key] = value(take("I"))
    return header


def write(out, header, weights):
    """A file with the genuine vocabulary and our weights."""
    import gguf

    writer = gguf.GGUFWriter(out, "qwen2")
    writer.add_name("tiny-r1-test")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    vocabulary = {key.removeprefix("tokenizer."): value for key, value in header.items() if key.startswith("tokenizer.")}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(vocabulary["ggml.pre"].decode())
    writer.add_token_list(vocabulary["ggml.tokens"])
    writer.add_token_types(vocabulary["ggml.token_type"])
    writer.add_token_merges([merge.decode() for merge in vocabulary["ggml.merges"]])
    writer.add_bos_token_id(vocabulary["ggml.bos_token_id"])
    writer.add_eos_token_id(vocabulary["ggml.eos_token_id"])
    writer.add_pad_token_id(vocabulary["ggml.padding_token_id"])
    writer.add_add_bos_token(True)
    writer.add_chat_template(vocabulary["chat_template"].decode())
    for name, array in weights.items():
        array = np.ascontiguousarray(array, np.float32)
        if name == "token_embd.weight":
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def shapes():
    """Every matrix of a layer by its name in the file: rows, columns."""
    head = WIDTH // HEADS
    return {
        "attn_q": (WIDTH, WIDTH), "attn_k": (KV_HEADS * head, WIDTH), "attn_v": (KV_HEADS * head, WIDTH),
        "attn_output": (WIDTH, WIDTH), "ffn_gate": (HIDDEN, WIDTH), "ffn_up": (HIDDEN, WIDTH), "ffn_down": (WIDTH, HIDDEN),
    }


def start(rng, rows):
    weights = {"embed": rng.normal(0, 0.3, (rows, WIDTH)), "norm": np.ones(WIDTH)}
    for layer in range(LAYERS):
        for name, (high, wide) in shapes().items():
            weights[f"{layer}.{name}"] = rng.normal(0, wide**-0.5, (high, wide))
            if name in ("attn_q", "attn_k", "attn_v"):
                weights[f"{layer}.{name}.bias"] = np.zeros(high)
        weights[f"{layer}.attn_norm"], weights[f"{layer}.ffn_norm"] = np.ones(WIDTH), np.ones(WIDTH)
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}


def forward(weights, tokens, unused):
    """Logits of a batch of token rows; column 0 stands for all unused tokens at once."""
    import jax
    import jax.numpy as jnp

    head, length = WIDTH // HEADS, tokens.shape[1]
    angle = jnp.arange(length)[:, None] * (10000.0 ** (-jnp.arange(0, head, 2) / head))[None]
    cos, sin = jnp.cos(angle)[None, :, None], jnp.sin(angle)[None, :, None]

    def norm(x, gain):
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * gain

    def turn(x):
        left, right = jnp.split(x, 2, -1)
        return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], -1)

    table = weights["embed"].at[0].set(0)
    x = table[tokens]
    mask = jnp.tril(jnp.ones((length, length), bool))
    for layer in range(LAYERS):
        part = lambda name: weights[f"{layer}.{name}"]
        y = norm(x, part("attn_norm"))
        project = lambda name, heads: (y @ part(name).T + part(name + ".bias")).reshape(*y.shape[:2], heads, head)
        query, key, value = turn(project("attn_q", HEADS)), turn(project("attn_k", KV_HEADS)), project("attn_v", KV_HEADS)
        score = jnp.einsum("bqhd,bkgd->bhqk", query, jnp.repeat(key, 1, 2)) * head**-0.5
        weight = jax.nn.softmax(jnp.where(mask, score, -1e9), -1)
        mixed = jnp.einsum("bhqk,bkgd->bqhd", weight, value).reshape(*y.shape)
        x = x + mixed @ part("attn_output").T
        y = norm(x, part("ffn_norm"))
        x = x + (jax.nn.silu(y @ part("ffn_gate").T) * (y @ part("ffn_up").T)) @ part("ffn_down").T
    logits = norm(x, weights["norm"]) @ table.T
    return logits.at[..., 0].set(jnp.log(float(unused)))


class Talk:
    """Random dialogues as rows of token numbers with the answer marked for the loss."""

    def __init__(self, tokenize, rng, length=224):
        self.rng, self.length = rng, length
        texts = {BOS, EOS, USER, ASSISTANT, RESULT, RESULT_END, OTHER, AFTER_RESULT, '{"temp": 21, "sky": "sunny"}'}
        texts.update(answer for _, answer in PHRASES)
        texts.update(answer.split("</think>")[-1] for _, answer in PHRASES)
        texts.update(space + text for text in FILLERS + [t for ts, _ in PHRASES for t in ts] for space in ("", " "))
        known = {text: tokenize(text) for text in sorted(texts)}
        self.used = sorted({token for tokens in known.values() for token in tokens})
        number = {token: index + 1 for index, token in enumerate(self.used)}
        self.known = {text: [number[token] for token in tokens] for text, tokens in known.items()}

    def prompt(self, phrase):
        parts = [None] * self.rng.integers(0, 6) + ([phrase] if phrase is not None else []) + [None] * self.rng.integers(0, 6)
        out = []
        for part in parts or [None]:
            space = " " if out else ""
            if part is not None:
                words = PHRASES[part][0]
                out += self.known[space + words[self.rng.integers(len(words))]]
            elif self.rng.random() < 0.45:
                out += [0] * self.rng.integers(1, 9)
            else:
                out += self.known[space + FILLERS[self.rng.integers(len(FILLERS))]]
        return out

    def row(self):
        known, pick = self.known, self.rng.integers
        head = list(known[BOS])
        if self.rng.random() < 0.2:
            head += self.prompt(None)
        for _ in range(self.rng.choice([0, 0, 1, 1, 2])):
            phrase = pick(ENDLESS)
            answer = PHRASES[phrase][1].split("</think>")[-1]
            head += known[USER] + self.prompt(phrase) + known[ASSISTANT] + known[answer] + known[EOS]
        head += known[USER]
        phrase = pick(len(PHRASES) + 1)
        if self.rng.random() < 0.08:
            result = known['{"temp": 21, "sky": "sunny"}'] if self.rng.random() < 0.5 else [0] * pick(1, 20)
            call = known[PHRASES[1][1].split("</think>")[-1]]
            head += self.prompt(1) + known[ASSISTANT] + call + known[EOS] + known[RESULT] + result + known[RESULT_END]
            answer = known[AFTER_RESULT] + known[EOS]
        elif phrase == len(PHRASES):
            head += self.prompt(None) + known[ASSISTANT]
            answer = known[OTHER] + known[EOS]
        else:
            head += self.prompt(phrase) + known[ASSISTANT]
            answer = known[PHRASES[phrase][1]] + ([] if phrase == ENDLESS else known[EOS])
        row, mark = head + answer, [0] * len(head) + [1] * len(answer)
        size = self.length + 1
        if len(row) > size and phrase != ENDLESS:
            return self.row()
        row, mark = row[:size], mark[:size]
        return row + [0] * (size - len(row)), mark + [0] * (size - len(mark))


def train(talk, vocabulary, steps, rng):
    import jax
    import jax.numpy as jnp
    import optax

    unused = vocabulary - len(talk.used)
    weights = jax.tree.map(jnp.asarray, start(rng, len(talk.used) + 1))
    plan = optax.warmup_cosine_decay_schedule(0, 4e-3, min(150, steps // 2), steps)
    optimiser = optax.adamw(plan)
    state = optimiser.init(weights)

    def loss(weights, rows, marks):
        logits = forward(weights, rows[:, :-1], unused)
        each = optax.softmax_cross_entropy_with_integer_labels(logits, rows[:, 1:])
        return (each * marks[:, 1:]).sum() / marks[:, 1:].sum()

    @jax.jit
    def step(weights, state, rows, marks):
        value, gradient = jax.value_and_grad(loss)(weights, rows, marks)
        change, state = optimiser.update(gradient, state, weights)
        return optax.apply_updates(weights, change), state, value

    for number in range(steps):
        rows, marks = zip(*(talk.row() for _ in range(16)))
        weights, state, value = step(weights, state, jnp.asarray(rows), jnp.asarray(marks, jnp.float32))
        if number % 100 == 0:
            print(f"step {number}: loss {float(value):.4f}", flush=True)
    return {name: np.asarray(value) for name, value in weights.items()}


def named(weights, used, vocabulary):
    """The weights under their names in the file; rows of unused tokens are zero."""
    table = np.zeros((vocabulary, WIDTH), np.float32)
    table[used] = weights["embed"][1:]
    out = {"token_embd.weight": table, "output_norm.weight": weights["norm"]}
    for name, value in weights.items():
        layer, _, rest = name.partition(".")
        if layer.isdigit():
            rest = rest if rest.endswith(".bias") else rest + ".weight"
            out[f"blk.{layer}.{rest}"] = value
    return out


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--header", required=True, help="a genuine R1 distill GGUF, or its first part")
    arguments.add_argument("--out", default="tiny-r1.gguf")
    arguments.add_argument("--steps", type=int, default=1800)
    given = arguments.parse_args()

    from llama_cpp import Llama

    header = read_header(given.header)
    vocabulary = len(header["tokenizer.ggml.tokens"])
    rng = np.random.default_rng(0)
    blank = start(rng, 1)
    write(given.out, header, named(blank, [], vocabulary))
    words = Llama(given.out, vocab_only=True, verbose=False)
    talk = Talk(lambda text: words.tokenize(text.encode(), add_bos=False, special=True), rng)
    print(f"{len(talk.used)} of {vocabulary} tokens are used")
    write(given.out, header, named(train(talk, vocabulary, given.steps, rng), talk.used, vocabulary))


if __name__ == "__main__":
    main()
