"""OpenAI's own client, unchanged. Prints one JSON object: a result for each case."""

# The library lives in another environment, out of the type checker's sight.
# mypy: ignore-errors

import asyncio
import json
import os
import sys

import openai

HTTP, PATH = f"http://{sys.argv[1]}", sys.argv[2]
results = {}
os.environ["NO_PROXY"] = "127.0.0.1"
client = openai.OpenAI(base_url=f"{HTTP}{PATH}", api_key="none", max_retries=0)
CHAT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "once upon"}]


def case(name, call):
    """Keep what a case gives, or what it raised."""
    try:
        results[name] = call()
    except openai.APIStatusError as error:
        raised = {"raised": type(error).__name__, "status": error.status_code, "message": str(error)}
        results[name] = raised | {"param": error.param, "code": error.code, "id": error.request_id}
    except openai.APIError as error:
        results[name] = {"raised": type(error).__name__, "message": str(error)}


def usage(answer):
    return None if answer.usage is None else answer.usage.model_dump(include={"prompt_tokens", "completion_tokens"})


def chat():
    answer = client.chat.completions.create(model="story", messages=CHAT, max_tokens=4)
    return [answer.object, answer.choices[0].message.role, answer.choices[0].message.content,
            answer.choices[0].finish_reason, usage(answer)]  # fmt: skip


def chat_stream():
    stream = client.chat.completions.create(
        model="story", messages=CHAT, max_completion_tokens=4, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    return [chunks[0].choices[0].delta.role, text, chunks[-2].choices[0].finish_reason, usage(chunks[-1])]


def several():
    answer = client.chat.completions.create(model="story", messages=CHAT, n=2, stop=["w2"], user="me", top_p=1)
    return [[choice.index, choice.message.content, choice.finish_reason] for choice in answer.choices]


def completion():
    answer = client.completions.create(model="story", prompt=["a", "b"], max_tokens=2)
    return [answer.object, [choice.text for choice in answer.choices], usage(answer)]


def completion_stream():
    stream = client.completions.create(model="story", prompt="a", max_tokens=2, stream=True)
    return [[chunk.choices[0].text, chunk.choices[0].finish_reason] for chunk in stream]


def embeddings():
    texts = ["a", "bcd"]
    packed = client.embeddings.create(model="words", input=texts)
    plain = client.embeddings.create(model="words", input=texts, encoding_format="float")
    return [[one.embedding for one in answer.data] for answer in (packed, plain)]


def broken_stream():
    pieces = []
    try:
        for chunk in client.chat.completions.create(
            model="story", messages=CHAT, stream=True, extra_body={"fail_after": 1}
        ):
            pieces += [chunk.choices[0].delta.content]
    except openai.APIError as error:
        return [pieces, type(error).__name__, error.message]
    return pieces


def leaves():
    with client.chat.completions.create(model="story", messages=CHAT, max_tokens=1_000_000, stream=True) as stream:
        return next(iter(stream)).choices[0].delta.role


async def asynchronous():
    async with openai.AsyncOpenAI(base_url=f"{HTTP}{PATH}", api_key="none", max_retries=0) as other:
        stream = await other.chat.completions.create(model="story", messages=CHAT, max_tokens=2, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def create(**asked):
    return client.chat.completions.create(**{"model": "story", "messages": CHAT, **asked})


TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


def tool_calls():
    answer = create(model="clerk", tools=TOOLS)
    choice = answer.choices[0]
    (call,) = choice.message.tool_calls
    return [choice.message.content, choice.finish_reason, call.function.name, call.function.arguments, usage(answer)]


def tool_calls_stream():
    chunks = list(create(model="clerk", tools=TOOLS, stream=True))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    called = [calls[0].function.name, calls[0].function.arguments, calls[0].index == 0 and bool(calls[0].id)]
    return [called, chunks[-1].choices[0].finish_reason]


def tool_answer():
    asked = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    said = [{"role": "assistant", "tool_calls": [asked]}, {"role": "tool", "tool_call_id": "call_1", "content": "cold"}]
    return create(model="clerk", messages=[*CHAT, *said], tools=TOOLS).choices[0].message.content


def logprobs():
    whole = create(model="clerk", logprobs=True).choices[0].logprobs.content
    chunks = list(create(model="clerk", logprobs=True, stream=True))
    streamed = [one for chunk in chunks if chunk.choices[0].logprobs for one in chunk.choices[0].logprobs.content]
    return [[one.token, one.logprob] for one in (whole[0], streamed[0])]


def stopped():
    answer = create(model="clerk", stop=["END"])
    return [answer.choices[0].message.content, answer.choices[0].finish_reason, usage(answer)]


def stopped_stream():
    chunks = list(create(model="clerk", stop="END", stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return [text, chunks[-2].choices[0].finish_reason, usage(chunks[-1])]


def stopped_counting():
    answer = client.completions.create(model="counter", prompt="go", stop=["2"])
    return [answer.choices[0].text, answer.choices[0].finish_reason, usage(answer)]


case("models", lambda: [[model.id, model.object, model.owned_by] for model in client.models.list()])
case("model", lambda: client.models.retrieve("story").id)
case("no_model", lambda: client.models.retrieve("nothing"))
case("chat", chat)
case("chat_stream", chat_stream)
case("several", several)
case("completion", completion)
case("completion_stream", completion_stream)
case("embeddings", embeddings)
case("broken_stream", broken_stream)
case("asynchronous", lambda: asyncio.run(asynchronous()))
case("unknown", lambda: create(model="nothing"))
case("not_a_generator", lambda: create(model="words"))
case("temperature", lambda: create(temperature=0.5))
case("tools", lambda: create(tools=[{"type": "function", "function": {"name": "f"}}]))
case("tool_calls", tool_calls)
case("tool_calls_stream", tool_calls_stream)
case("tool_answer", tool_answer)
case("logprobs", logprobs)
case("logprobs_refused", lambda: create(logprobs=True))
case("stopped", stopped)
case("stopped_stream", stopped_stream)
case("stopped_counting", stopped_counting)
case("wrong_type", lambda: create(max_tokens="many"))
case("empty", lambda: create(messages=[]))
case("refused_by_the_model", lambda: create(messages=[{"role": "user", "content": ""}]))
case("fails", lambda: create(extra_body={"fail_after": 0}))
case("dimensions", lambda: client.embeddings.create(model="words", input="a", dimensions=2))
case("tokens", lambda: client.embeddings.create(model="words", input=[1, 2]))
case("leaves", leaves)
print(json.dumps(results))
