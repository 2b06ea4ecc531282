"""What the provider's model says. The same stories in every dialect; both the doubles and the tests read them."""

import dataclasses
import json
import pathlib
import re

SIGNATURE = "RXFyb3VnaCBzaWduYXR1cmU="  # what the doubles sign thinking with, and demand back
COMMON = {"input": 50, "cached": 20, "output": 9, "reasoning": 0}


@dataclasses.dataclass
class Story:
    name: str
    text: str = ""
    reasoning: str = ""
    calls: list = dataclasses.field(default_factory=list)
    then: str = ""
    finish: str = ""
    stop_sequence: str | None = None
    usage: dict = dataclasses.field(default_factory=lambda: dict(COMMON))
    logprobs: list | None = None
    choices: list | None = None
    citation: dict | None = None

    def calling(self, body: dict) -> "Story":
        """A call of `?` is one of the first tool, by the name that the provider was told."""
        told = named(body.get("tools") or body.get("toolConfig"))
        return dataclasses.replace(self, calls=[(told if name == "?" else name, raw) for name, raw in self.calls])

    def after_results(self) -> "Story":
        """What it says once it has seen the results of its calls."""
        return Story(self.name, text=self.then, finish="stop", usage=self.usage)

    def __post_init__(self):
        self.finish = self.finish or ("tool_calls" if self.calls else "stop")

    @property
    def pieces(self) -> list[str]:
        """The text as a model streams it: some characters at a time."""
        return cut(self.text)


def named(tools) -> str | None:
    """The first name in a list of tools, whatever its form."""
    if isinstance(tools, list):
        return next((name for name in map(named, tools) if name), None)
    if isinstance(tools, dict):
        return tools["name"] if isinstance(tools.get("name"), str) else named(list(tools.values()))
    return None


def cut(text: str, size: int = 5) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


STORIES = {
    name: Story(name, **members)
    for name, members in json.loads((pathlib.Path(__file__).parent / "stories.json").read_text()).items()
}


LEGAL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")  # of a tool, with OpenAI and Amazon


class Refusal(Exception):
    """What the real provider would answer to a request like this: a status and words."""

    def __init__(self, message: str, status: int = 400, code: str | None = None, param: str | None = None):
        super().__init__(message)
        self.message, self.status, self.code, self.param = message, status, code, param


def demand(holds, message: str, **more):
    if not holds:
        raise Refusal(message, **more)


def known(given: dict, names: str, where: str):
    """Real providers refuse members that they do not know."""
    strange = set(given) - set(names.split())
    demand(not strange, f"Unrecognized request argument supplied in {where}: {', '.join(sorted(strange))}")
