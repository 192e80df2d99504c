"""Checks a request with a vendor's own types, and prints an answer made of them: the second label.

  python sdk_check.py openai|anthropic < REQUEST > ANSWER
"""
import json
import sys

from pydantic import TypeAdapter


def plain(value):
    """With lists where pydantic leaves iterators, which check their items only when they are asked for them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (str, int, float)):
        return value
    return [plain(item) for item in value]


def check(kind, request):
    """A typed dictionary drops what it does not know, so nothing may be missing afterwards."""
    # The adapter has to live as long as the iterators.
    adapter = TypeAdapter(kind)
    seen = plain(adapter.validate_python(request))
    assert seen == request, f"unknown to the vendor: {sorted(set(request) - set(seen))}\n{seen}\n{request}"


def openai(request):
    from openai.types.chat import ChatCompletion, completion_create_params

    check(completion_create_params.CompletionCreateParamsNonStreaming, request)
    schema = request.get("response_format", {}).get("json_schema")
    content = json.dumps({"label": "dog"}) if schema else "dog"
    return ChatCompletion(
        id="chatcmpl-1",
        created=1_790_000_000,
        model="model-of-the-test",
        object="chat.completion",
        choices=[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
        usage={
            "prompt_tokens": 1200,
            "completion_tokens": 9,
            "total_tokens": 1209,
            "prompt_tokens_details": {"cached_tokens": 1024},
        },
    )


def anthropic(request):
    from anthropic.types import Message, message_create_params

    check(message_create_params.MessageCreateParamsNonStreaming, request)
    if "tools" in request:
        name = request["tool_choice"]["name"]
        content = [{"type": "tool_use", "id": "toolu_1", "name": name, "input": {"label": "dog"}}]
    else:
        text = json.dumps({"label": "dog"}) if "output_config" in request else "dog"
        content = [{"type": "text", "text": text}]
    return Message(
        id="msg_1",
        type="message",
        role="assistant",
        model="model-of-the-test",
        content=content,
        stop_reason="tool_use" if "tools" in request else "end_turn",
        usage={
            "input_tokens": 176,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 1024,
            "output_tokens": 9,
        },
    )


vendor = {"openai": openai, "anthropic": anthropic}[sys.argv[1]]
print(vendor(json.load(sys.stdin)).model_dump_json())
