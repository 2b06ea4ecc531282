"""What the tests of all clients share: a stand, its models, prompts that choose a scenario, tools, a schema."""

import collections
import itertools
import json
import time

import pytest

from double.stand import COPIES, MODELS_EACH, Stand
from double.story import STORIES

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TIME = {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"], "additionalProperties": False}
ORDER = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"], "additionalProperties": False}
NOTHING = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
TOOLS = {"get_weather": WEATHER, "get_time": TIME, "get_order": ORDER, "ping": NOTHING}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJgggAA++++///+"

# One model of each provider's dialect.
MODELS = [
    "openai/gpt-5-mini",
    "responses-0/gpt-5",
    "anthropic/claude-sonnet-4-5",
    "gemini/gemini-2.5-flash",
    "gemini/gemini-3.8-flash",
    "deepseek/deepseek-flash",
    "bedrock/anthropic.claude-sonnet-4-5",
    "cohere/command-a",
]


def but(*without: str) -> list[str]:
    """The models less some, by provider or whole name."""
    return [model for model in MODELS if model not in without and model.split("/")[0].partition("-")[0] not in without]


@pytest.fixture(scope="session")
def stand(tmp_path_factory):
    stand = Stand(tmp_path_factory.mktemp("stand"))
    yield stand
    stand.stop()


COUNTER = itertools.count()


class Marked:
    """A prompt whose scenario the double plays, and a look at what arrived there for it."""

    def __init__(self, stand: Stand):
        self.stand, self.tag = stand, f"t{next(COUNTER)}"

    def __call__(self, scenario: str) -> str:
        return f"scenario={scenario} tag={self.tag}"

    def seen(self, at: int = -1) -> dict:
        found = [seen for seen in self.stand.providers.seen if seen["tag"] == self.tag]
        assert found, "nothing arrived at a provider"
        return found[at]

    def count(self) -> int:
        return sum(seen["tag"] == self.tag for seen in self.stand.providers.seen)

    def closed_within(self, seconds: float) -> bool:
        end = time.time() + seconds
        while time.time() < end:
            if self.seen()["closed"]:
                return True
            time.sleep(0.02)
        return False


FRESH, LIMITED = itertools.count(), collections.defaultdict(itertools.count)


def fresh(model: str, limited: bool = False) -> str:
    """A model of the same provider that no test has used: what fails there rests there. `limited`: a key of its own."""
    provider = model.partition("/")[0].partition("-")[0]
    if limited:
        return f"{provider}-{1 + next(LIMITED[provider]) % (COPIES - 1)}/x"
    return f"{provider}-0/m{next(FRESH) % MODELS_EACH}"


# One model a provider, for tests of failures.
FAILING = [model for model in MODELS if model != "gemini/gemini-2.5-flash"]


@pytest.fixture
def mark(stand):
    return Marked(stand)


def story(name: str):
    return STORIES[name]


def arguments(name: str) -> list[dict]:
    return [json.loads(raw) for _, raw in STORIES[name].calls]
