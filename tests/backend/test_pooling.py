"""Embeddings, class probabilities and scores; the last test kills the server."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from backend.client import Client
from backend.serving import Installation, Model, Server

TEXT = "The operator watches"


@pytest.fixture(scope="module")
def server(where: Installation) -> Iterator[Server]:
    classify = {
        "runner": "pooling",
        "convert": "classify",
        "load_format": "dummy",
        "hf_overrides": {"num_labels": 3},
    }
    models = {
        "embedder": Model(engine={"runner": "pooling", "convert": "embed"}),
        "classifier": Model(engine=classify),
    }
    server = Server(where, models)
    try:
        yield server.wait_ready("embedder").wait_ready("classifier")
    finally:
        server.close()


@pytest.fixture(scope="module")
def embedder(server: Server) -> Client:
    return Client(server.grpc_port, "embedder")


def test_the_references_embedding_request(embedder: Client) -> None:
    answer = embedder.ask(
        embedding_request={"input": TEXT, "pooling_params": {}},
        return_num_input_tokens=True,
        return_num_output_tokens=True,
    )
    assert answer.error is None, answer.error
    vector = answer.document()
    assert len(vector) == 128
    assert math.sqrt(sum(value * value for value in vector)) == pytest.approx(1, abs=1e-3)
    assert answer.responses[0]["num_output_tokens"].tolist() == [0]
    assert int(answer.responses[0]["num_input_tokens"]) > 1
    # The text may be there, too, and token ids may stand for it.
    assert embedder.ask(text_input="", embedding_request={"input": TEXT}).document() == vector
    assert embedder.ask(embedding_request={"input": [5, 6, 7]}).error is None


def test_several_inputs_at_once(embedder: Client) -> None:
    answer = embedder.ask(pooling_request={"task": "embed", "input": [TEXT, "something else"]})
    assert answer.error is None, answer.error
    assert answer.responses[0]["text_output"].shape == (2,)
    assert answer.document(position=0) == pytest.approx(
        embedder.ask(embedding_request={"input": TEXT}).document(), abs=1e-3
    )


def test_scores(embedder: Client) -> None:
    answer = embedder.ask(
        pooling_request={"task": "score", "query": TEXT, "documents": [TEXT, "sheep of wool", "doll"]}
    )
    assert answer.error is None, answer.error
    scores = [float(text) for text in answer.responses[0]["text_output"]]
    assert scores[0] == pytest.approx(1, abs=1e-3)
    assert max(scores[1:]) < scores[0]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"embedding_request": {"input": TEXT, "pooling_params": {"dimensions": [4]}}}, "dimensions"),
        ({"embedding_request": {"input": 3}}, "`input`"),
        ({"embedding_request": "{"}, "valid JSON"),
        ({"embedding_request": {"input": TEXT, "pooling_params": {"size": 1}}}, "'size'"),
        ({"pooling_request": {"input": TEXT}}, "`task`"),
        ({"pooling_request": {"task": "classify", "input": TEXT}}, "'classify'"),
        ({"pooling_request": {"task": "score", "query": TEXT}}, "`documents`"),
        ({"text_input": TEXT}, "does not support 'generate' request"),
    ],
)
def test_bad_pooling_requests(embedder: Client, values: dict[str, Any], named: str) -> None:
    error = embedder.ask(**values).error
    assert error is not None
    assert named in error


def test_class_probabilities(server: Server) -> None:
    classifier = Client(server.grpc_port, "classifier")
    answer = classifier.ask(pooling_request={"task": "classify", "input": TEXT})
    assert answer.error is None, answer.error
    probabilities = answer.document()
    assert len(probabilities) == 3
    assert sum(probabilities) == pytest.approx(1, abs=1e-3)


def test_a_killed_server_leaves_no_process(server: Server) -> None:
    server.kill("tritonserver --")
    server.wait_gone(5)
