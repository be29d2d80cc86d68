"""What may not leave the container: tokens of every form, credentials in URLs, users' words."""

import time

import pytest

from triton_runtime.redaction import HIDDEN, redact


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("token hf_AbCdEfGhIjKlMnOpQrStUvWxYz123456 refused", "hf_AbCd"),
        ("api_org_AbCdEfGhIjKlMnOpQrStUv", "api_org_A"),
        ("Authorization: Bearer abc.def-ghi_jkl", "abc.def"),
        ("headers={'authorization': 'Bearer s3cr3t-t0ken-value'}", "s3cr3t"),
        ("Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"),
        ("nvapi-AbCdEfGhIjKlMnOpQrSt", "nvapi-Ab"),
        ("sk-proj-AbCdEfGhIjKlMnOpQrStUvWx", "sk-proj-Ab"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSF"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "eyJzdWIi"),
        ("HF_TOKEN=abcdefgh exported", "abcdefgh"),
        ('{"hf_token": "abc\\"defgh"}', "defgh"),
        ("password='hunter2 and more'", "hunter2"),
        ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG", "wJalrX"),
        ("x-triton-vllm-admin=UHVsuDpZSs4PMkXukPEuVLec21cswH81", "UHVsuD"),
        ("https://user:pa55@hub.example/x", "pa55"),
        ("http://proxyuser:pa55@10.0.0.1:3128", "pa55"),
        ("https://cdn.example/m.safetensors?X-Amz-Signature=abc123&Expires=1", "abc123"),
        ("prompt: 'my diagnosis is grave', prompt_token_ids: [1, 2, 3]", "diagnosis"),
        ("NewRequestData(req_id=1,prompt_token_ids=[101, 202, 303],mm_features=[])", "202"),
        ("text_input='call me on 555'", "555"),
        ("prompt=\"it's a 'quoted' secret wish\" stop", "wish"),
        ("prompt='cut off in the midd", "midd"),
        ("messages=[{'role': 'user', 'content': 'my diagnosis'}], n=1", "diagnosis"),
        ("messages=[{'role': 'user', 'content': [{'type': 'text', 'text': 'my diagnosis'}]}]", "diagnosis"),
        ("{'role': 'user', 'content': 'my diagnosis'}", "diagnosis"),
        ('{"content": "my \\"grave\\" diagnosis"}', "diagnosis"),
        ("[type=string_type, input_value='my diagnosis', input_type=str]", "diagnosis"),
        ("[type=dict_type, input_value={'role': 'my diagnosis'}, input_type=dict]", "diagnosis"),
        ("SamplingParams(n=1, stop=['diagnosis'], bad_words=[])", "diagnosis"),
        ("SamplingParams(n=1, stop=[], bad_words=['diagnosis'])", "diagnosis"),
        ("StructuredOutputsParams(json={'diagnosis': 1}, regex=None)", "diagnosis"),
        ("structured_outputs=StructuredOutputsParams(regex='diagnosis')", "diagnosis"),
        ("guided_choice=['diagnosis']", "diagnosis"),
        (
            "Dumping scheduler output for model execution: SchedulerOutput(reqs=[(x='diagnosis')])",
            "diagnosis",
        ),
        ("AWS_SECRET_ACCESS_KEY: wJalrXUtnFEMI", "wJalrX"),
        ("password: hunter2", "hunter2"),
        ("'db-password': hunter2", "hunter2"),
        ("HUGGING_FACE_HUB_TOKEN: abcdefgh", "abcdefgh"),
    ],
)
def test_secret_is_gone(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)
    assert HIDDEN in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "ValueError: Total number of attention heads (52) must be divisible by tensor parallel size (8).",
        "Cannot access gated repo for url https://huggingface.co/meta-llama/Llama-2-7b/resolve/main/config.json.",
        "max_num_batched_tokens=2048 max_tokens: 16",
        "SamplingParams(n=1, stop=[], stop_token_ids=[], bad_words=[], structured_outputs=None)",
        "pad_token: <pad> eos_token: </s> finish_reason='stop', e2e=3",
        "unexpected content: the file is no JSON; stop: the server ends",
        "the engine process ended with signal 9",
        "special_tokens_map.json is missing in /source",
    ],
)
def test_the_cause_stays_readable(text: str) -> None:
    assert redact(text) == text


def test_redacting_twice_changes_nothing() -> None:
    text = "Bearer abcdefghij https://u:p@h/x?sig=1 prompt='x' password: y messages=[{'content': 'z'}]"
    assert redact(redact(text)) == redact(text)


def test_one_endless_line_is_no_work() -> None:
    for text in (
        "x" * 200_000,
        "token" * 40_000,
        "a.b-" * 50_000,
        "'" * 200_000,
        "prompt='" * 20_000,
        "stop=[" * 30_000,
    ):
        started = time.monotonic()
        redact(text)
        assert time.monotonic() - started < 5
