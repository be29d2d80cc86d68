"""A model that takes images, made here with random weights: what it says must depend on the image."""

import base64
import shutil
import struct
import subprocess
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.client import Client
from backend.serving import ENVIRONMENT, Installation, Model, Server

MAKER = Path(__file__).with_name("make_tiny_llava.py")
PROMPT = "<image> The operator"
GREEDY = {"temperature": 0, "max_tokens": 12, "ignore_eos": True}


def png(red: int, green: int, blue: int, *, side: int = 40) -> str:
    """A picture in one colour, encoded as clients send it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes((red, green, blue)) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    whole = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + whole).decode()


RED, BLUE = png(255, 0, 0), png(0, 0, 255)


@pytest.fixture(scope="module")
def server(where: Installation) -> Iterator[Server]:
    inside = f"/tmp/llava-{uuid.uuid4().hex}"
    outside = where.path / inside.lstrip("/")
    outside.mkdir()
    outside.chmod(0o777)
    shutil.copy(MAKER, outside)
    try:
        command = [where.python, f"{inside}/{MAKER.name}", where.source, f"{inside}/model"]
        made = where.popen(command, ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = made.communicate(timeout=120)
        assert made.returncode == 0, output.decode()[-2000:]
        engine = {"model": f"{inside}/model", "max_model_len": 256, "limit_mm_per_prompt": {"image": 2}}
        server = Server(where, {"vllm_model": Model(engine=engine)})
        try:
            yield server.wait_ready()
        finally:
            server.close()
    finally:
        shutil.rmtree(outside, ignore_errors=True)


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return Client(server.grpc_port)


def see(client: Client, *images: str, prompt: str = PROMPT, stream: bool = False) -> str:
    """What the model says to images."""
    answer = client.ask(
        text_input=prompt,
        image=list(images),
        stream=stream,
        exclude_input_in_output=True,
        sampling_parameters=GREEDY,
    )
    assert answer.error is None, answer.error
    return answer.text


def test_the_answer_depends_on_the_image_alone(client: Client) -> None:
    red, blue = see(client, RED), see(client, BLUE)
    assert red != blue
    assert (see(client, RED), see(client, BLUE)) == (red, blue)
    assert see(client, RED, stream=True) == red


def test_several_images_keep_their_order(client: Client) -> None:
    both = "<image><image> The operator"
    assert see(client, RED, BLUE, prompt=both) != see(client, BLUE, RED, prompt=both)


def test_the_prompt_before_the_answer_is_as_the_client_wrote_it(client: Client) -> None:
    answer = client.ask(text_input=PROMPT, image=[RED], sampling_parameters=GREEDY)
    assert answer.error is None, answer.error
    assert answer.text == PROMPT + see(client, RED)


def test_the_generate_endpoint_takes_an_image(server: Server, client: Client) -> None:
    body = {"text_input": PROMPT, "image": RED, "exclude_input_in_output": True, **GREEDY}
    answer = server.post("/v2/models/vllm_model/generate", body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text_output"] == see(client, RED)


@pytest.mark.parametrize(
    ("prompt", "images", "named"),
    [
        (PROMPT, [RED, RED, RED], "At most 2 image(s)"),
        (PROMPT, [RED, RED], "the prompt has no place for each of the 2 images"),
        ("no place for it", [RED], "the prompt has no place for each of the 1 images"),
        (PROMPT, [RED, "not base64!"], "`image` element 1 is not a base64-encoded image."),
        (PROMPT, [RED[: len(RED) // 2]], "`image` element 0 is not a base64-encoded image."),
    ],
)
def test_what_the_model_cannot_take(client: Client, prompt: str, images: list[str], named: str) -> None:
    error = client.ask(text_input=prompt, image=images, sampling_parameters=GREEDY).error
    assert error is not None
    assert named in error
    assert "Traceback" not in error
    assert see(client, RED)


@pytest.mark.parametrize("images", [[], [RED]])
def test_a_place_without_an_image_ends_no_engine(client: Client, images: list[str]) -> None:
    values = {"image": images} if images else {}
    answer = client.ask(text_input="<image><image> x", sampling_parameters=GREEDY, **values)
    assert "internal error" not in str(answer.error)
    assert see(client, RED)
