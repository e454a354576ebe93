"""Drive the endpoint with the official `openai` Python package.

    python -m venv venv && venv/bin/pip install openai
    cargo build -p nesa-gateway --example scripted
    venv/bin/python crates/gateway/tests/python_client.py target/debug/examples/scripted

With a program as argument, starts it, reads `{"endpoint", "api_key"}` from its first line, and
interrupts it at the end. Without one, uses OPENAI_BASE_URL and OPENAI_API_KEY, whatever model is
listed first, and leaves out what only the scripted model can show. Exits 1 at the first failure.
"""

import json
import signal
import subprocess
import sys
import time

import openai


def check(condition, what, got=None):
    if not condition:
        print(f"FAILED  {what}: {got!r}")
        sys.exit(1)
    print(f"ok      {what}")


def refused(kind, what, call):
    """The error of class `kind` that `call` raises."""
    try:
        got = call()
    except openai.APIError as error:
        check(isinstance(error, kind), what, error)
        return error
    check(False, what, got)


def ask(client, model, text, **fields):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return client.chat.completions.create(model=model, messages=messages, **fields)


def any_model(client, model):
    check(client.models.retrieve(model).id == model, "models.retrieve")
    refused(openai.NotFoundError, "unknown model in models", lambda: client.models.retrieve("no"))

    whole = ask(client, model, "Hello there", max_tokens=8, temperature=0, seed=1)
    choice = whole.choices[0]
    check(choice.message.role == "assistant" and choice.message.content, "whole answer", whole)
    check(choice.finish_reason in ("stop", "length"), "finish reason", choice.finish_reason)
    usage = whole.usage
    check(usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0, "usage", usage)
    nesa = whole.model_extra["nesa"]
    check(nesa["privacy"] and nesa["assurance"] and "receipt" in nesa, "nesa object", nesa)
    check(whole.system_fingerprint.startswith("nesa:"), "fingerprint", whole.system_fingerprint)

    options = {"include_usage": True}
    chunks = list(ask(client, model, "Hello there", max_tokens=8, temperature=0, seed=1,
                      stream=True, stream_options=options))
    check(chunks[0].choices[0].delta.role == "assistant", "role chunk first", chunks[0])
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    check(text == choice.message.content, "streamed text equals whole text", text)
    check(chunks[-1].choices == [] and chunks[-1].usage == usage, "usage chunk", chunks[-1])
    check(chunks[-2].choices[0].finish_reason == choice.finish_reason, "finish chunk", chunks[-2])
    check(chunks[-2].model_extra["nesa"]["privacy"] == nesa["privacy"], "nesa in finish chunk")
    chunks = list(ask(client, model, "Hello there", max_tokens=4, stream=True))
    check(all(c.usage is None and c.choices for c in chunks), "no usage unless asked for")

    with client.chat.completions.stream(
        model=model, messages=[{"role": "user", "content": "Hello there"}], max_tokens=4
    ) as stream:
        try:
            final = stream.get_final_completion()
        except openai.LengthFinishReasonError as error:
            # How the package reports an answer that its limit cut.
            final = error.completion
    check(final.choices[0].message.content, "stream helper", final)

    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": "Hi"}], max_completion_tokens=4)
    check(raw.headers.get("x-nesa-privacy") == nesa["privacy"], "privacy header", raw.headers)
    check(raw.parse()._request_id.startswith("req_"), "request id")

    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    answer = ask(client, model, parts, max_tokens=4, user="u", metadata={"a": "b"}, store=False,
                 extra_body={"field_of_next_year": 1})
    check(answer.choices[0].message.content, "text parts and harmless fields", answer)

    for name, value in [
        ("n", 2), ("logprobs", True), ("response_format", {"type": "json_object"}),
        ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        ("temperature", 3), ("top_p", -1), ("max_tokens", 0), ("stop", [""]),
        ("logit_bias", {"1": 5}), ("presence_penalty", 1),
    ]:
        error = refused(openai.BadRequestError, f"400 for {name}",
                        lambda: ask(client, model, "Hi", **{name: value}))
        check(error.param == name, f"400 names {name}", error.param)
    error = refused(openai.NotFoundError, "404 for an unknown model",
                    lambda: ask(client, "no-such-model", "Hi"))
    check(error.code == "model_not_found", "its code", error.code)
    stranger = client.with_options(api_key="sk-wrong-wrong-wrong", max_retries=0)
    refused(openai.AuthenticationError, "401 for a wrong key", stranger.models.list)
    rebound = client.with_options(default_headers={"Host": "evil.example"}, max_retries=0)
    refused(openai.PermissionDeniedError, "403 for a foreign host", rebound.models.list)
    refused(openai.APIStatusError, "413 for a huge request",
            lambda: ask(client, model, "x" * (1 << 20)))


def scripted_model(client, model):
    answer = ask(client, model, "one two three four", stop="three")
    check(answer.choices[0].message.content == "one two ", "stop sequence", answer)
    check(answer.choices[0].finish_reason == "stop", "stop reason", answer)
    answer = ask(client, model, "one two three four", stop=["o three f", "x"])
    check(answer.choices[0].message.content == "one tw", "stop across chunks", answer)
    answer = ask(client, model, "one two three", max_tokens=2)
    check(answer.choices[0].message.content == "one two ", "max_tokens", answer)
    check(answer.choices[0].finish_reason == "length", "length reason", answer)
    answer = ask(client, model, "naïve 😀 日本 \u2028 \"quoted\"\n\nend", stream=True)
    text = "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
    check(text == "naïve 😀 日本 \u2028 \"quoted\"\n\nend", "any characters in a stream", text)

    once = client.with_options(max_retries=0)
    for kind, error_class, code in [
        ("context", openai.BadRequestError, "context_length_exceeded"),
        ("busy", openai.RateLimitError, "sessions_taken"),
        ("unavailable", openai.InternalServerError, "network_unreachable"),
        ("verification", openai.InternalServerError, "verification_failed"),
        ("internal", openai.InternalServerError, "internal_error"),
    ]:
        for stream in (False, True):
            error = refused(error_class, f"{kind}, stream={stream}",
                            lambda: ask(once, model, f"fail:{kind}", stream=stream))
            check(error.code == code, f"code {code}", error.code)
    begun = time.monotonic()
    refused(openai.RateLimitError, "busy is retried after Retry-After",
            lambda: ask(client.with_options(max_retries=1), model, "fail:busy"))
    check(time.monotonic() - begun >= 0.9, "it waited")
    begun = time.monotonic()
    refused(openai.InternalServerError, "a failed check", lambda: ask(
        client.with_options(max_retries=5), model, "fail:verification"))
    check(time.monotonic() - begun < 0.4, "is not retried")

    seen = []
    def midway():
        for chunk in ask(client, model, "fail:late:verification", stream=True):
            seen.append(chunk)
    error = refused(openai.APIError, "an error in the middle of a stream", midway)
    check(len(seen) == 2 and error.code == "verification_failed", "comes after the text", seen)


def main():
    program = None
    if len(sys.argv) > 1:
        program = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)
        ready = json.loads(program.stdout.readline())
        client = openai.OpenAI(base_url=ready["endpoint"], api_key=ready["api_key"])
    else:
        client = openai.OpenAI()
    try:
        models = [model.id for model in client.models.list()]
        check(models, "models.list", models)
        any_model(client, models[0])
        if models[0] == "scripted":
            scripted_model(client, models[0])
    finally:
        if program:
            program.send_signal(signal.SIGINT)
            check(program.wait(timeout=10) == 0, "ends in order when interrupted")
    print("all passed")


if __name__ == "__main__":
    main()
