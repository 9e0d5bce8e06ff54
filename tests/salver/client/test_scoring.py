import gzip
import json
import math
import socket
from pathlib import Path

import pytest

from salver.client.errors import ClientError, KeyRefused, RequestRefused, ServiceUnreachable, UnexpectedAnswer
from salver.client.result import ImageSize, LabelScore, Score, ScoreError
from salver.client.scoring import ScoringClient
from tests.salver.conftest import KEY, Service
from tests.support.complete import complete
from tests.support.images import solid
from tests.support.live import running_service


def test_a_single_image_gives_a_list_of_one(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"1234")
    with ScoringClient(service.url, KEY) as client:
        results = [client.score(source) for source in (b"1234", path, str(path))]
    assert results == [[Score("cup", 1, 4.0, scores=(1.0, 4.0))]] * 3


def test_a_url_is_handed_on_to_the_service(service: Service) -> None:
    with ScoringClient(service.url, KEY) as client:
        client.score("http://a.example/x.jpg")
    assert service.requests == [[{"image_url": "http://a.example/x.jpg", "parameters": {"add_softmax": False}}]]


def test_softmax_and_top_k_are_asked_for(service: Service) -> None:
    with ScoringClient(service.url, KEY) as client:
        [result] = client.score(b"123456789", softmax=True, top_k=2)
    assert result == Score("cup", 1, 0.9, top=(LabelScore("cup", 0.9), LabelScore("bowl", 0.1)))


def test_only_what_is_asked_for_besides_is_sent(service: Service) -> None:
    """A service of an earlier version knows none of it."""
    with ScoringClient(service.url, KEY) as client:
        client.score(b"1", familiarity=True, reject_foreign=True, features=True, heat_map="cup")
        client.score(b"1", heat_map=True)
        client.score(b"1", heat_map=False)
    sent = [items[0]["parameters"] for items in service.requests]
    assert sent == [
        {"add_softmax": False, "familiarity": True, "reject_foreign": True, "features": True, "heat_map": "cup"},
        {"add_softmax": False, "heat_map": True},
        {"add_softmax": False},
    ]


def test_a_service_that_does_not_know_a_parameter_is_said_to_be_of_an_earlier_version(service: Service) -> None:
    detail = "Unknown field: item 0, parameters, reject_foreign. Remove it or correct its name."
    problem = {"type": "urn:salver:invalid-request", "title": "The request does not have the documented form"}
    service.reply = 422, json.dumps(problem | {"detail": detail, "status": 422}).encode()
    with (
        ScoringClient(service.url, KEY) as client,
        pytest.raises(RequestRefused, match=r"item 0, parameters, reject_foreign\..* of an earlier version") as caught,
    ):
        client.score(b"1", reject_foreign=True)
    assert caught.value.status == 422


def test_a_live_service_answers_all_of_it_and_refuses_what_its_file_has_not(tmp_path: Path) -> None:
    photos = [solid((200, 30, 40)), solid((20, 180, 60))]
    with running_service(complete(tmp_path / "model.onnx")) as live, ScoringClient(str(live.base_url)) as client:
        red, green = client.score(photos, familiarity=True, reject_foreign=True, features=True, heat_map=True)
        assert isinstance(red, Score)
        assert isinstance(green, Score)
        assert (red.label, red.foreign, green.label, green.foreign) == ("red", False, None, True)
        assert green.reason == "The image is unlike the training photos."
        assert len(red.features) == 3
        assert red.heat_map is not None
        assert red.heat_map.image == ImageSize(40, 40)
        values = [value for row in red.heat_map.values for value in row]
        assert sum(values) / len(values) + red.heat_map.bias == pytest.approx(red.heat_map.logit, abs=1e-5)
        with pytest.raises(RequestRefused, match="no label 'cup'"):
            client.score(photos, heat_map="cup")


def test_an_abstention_has_no_label(service: Service) -> None:
    with ScoringClient(service.url, KEY) as client:
        [result] = client.score(b"1", softmax=True)
    assert isinstance(result, Score)
    assert (result.label, result.abstained) == (None, True)


def test_images_that_fail_stand_in_their_places(service: Service, tmp_path: Path) -> None:
    with ScoringClient(service.url, KEY) as client:
        results = client.score([tmp_path / "none.jpg", b"1", b"broken", b"12"])
    kinds = [result.type if isinstance(result, ScoreError) else result.score for result in results]
    assert kinds == ["urn:salver:unreadable-file", 1.0, "urn:salver:undecodable-image", 2.0]


def test_when_every_image_fails_each_has_its_error(service: Service, tmp_path: Path) -> None:
    with ScoringClient(service.url, KEY) as client:
        assert len(client.score([b"broken", b"broken too"])) == 2
        assert [type(result) for result in client.score([tmp_path / "none.jpg"])] == [ScoreError]
        assert client.score([]) == []
    assert len(service.requests) == 1


def test_a_long_list_is_sent_in_parts_over_one_connection(service: Service) -> None:
    with ScoringClient(service.url, KEY) as client:
        results = client.score(bytes(size) for size in range(1, 101))
    assert [result.score for result in results if isinstance(result, Score)] == [float(size) for size in range(1, 101)]
    assert [len(items) for items in service.requests] == [32, 32, 32, 4]
    assert len(service.connections) == 1


def test_large_images_are_sent_in_parts_that_a_service_takes(service: Service) -> None:
    with ScoringClient(service.url, KEY) as client:
        client.score([bytes(5_000_000)] * 3 + [bytes(20_000_000)])
    assert [len(items) for items in service.requests] == [2, 1, 1]


@pytest.mark.parametrize("ending", ["", "/", "/score", "/score/"])
def test_the_url_may_end_in_a_slash_or_in_score(service: Service, ending: str) -> None:
    with ScoringClient(service.url + ending, KEY + "\n") as client:
        assert len(client.score(b"1")) == 1


@pytest.mark.parametrize("key", [None, "", "wrong"])
def test_a_missing_or_wrong_key_is_told(service: Service, key: str | None) -> None:
    with ScoringClient(service.url, key) as client, pytest.raises(KeyRefused, match="A valid key is needed") as caught:
        client.score(b"1")
    assert (caught.value.status, caught.value.type) == (401, "urn:salver:unauthorised")


def test_a_key_that_no_header_can_carry_is_refused_without_repeating_it() -> None:
    with pytest.raises(ClientError, match="control character") as caught:
        ScoringClient("http://127.0.0.1:9", "se\ncret")
    assert "cret" not in str(caught.value)


def test_a_refused_request_raises_with_the_service_s_own_words(service: Service) -> None:
    service.reply = (429, b'{"type": "urn:salver:overloaded", "title": "Full", "detail": "Come back in 1 s."}')
    with ScoringClient(service.url, KEY) as client, pytest.raises(RequestRefused, match="Full: Come back in 1 s"):
        client.score(b"1")


@pytest.mark.parametrize("reply", [(200, b"<html>"), (200, b"[]"), (502, b"<html>Bad Gateway"), (307, b"")])
def test_what_is_not_a_salver_service_is_told(service: Service, reply: tuple[int, bytes]) -> None:
    service.reply = reply
    with ScoringClient(service.url, KEY) as client, pytest.raises(UnexpectedAnswer):
        client.score(b"1")


def test_a_service_that_does_not_listen_is_unreachable() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with ScoringClient(url) as client, pytest.raises(ServiceUnreachable, match="is the service running"):
            client.score(b"1")


def test_a_service_that_does_not_answer_in_time_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with ScoringClient(url, timeout_seconds=0.1) as client, pytest.raises(ServiceUnreachable, match="in time"):
            client.score(b"1")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "", "ftp://a.example", "http://", "localhost", "//a", "://a"])
def test_what_is_no_url_is_named_with_one_that_is(url: str) -> None:
    with pytest.raises(
        ServiceUnreachable, match=r"is not the URL of a service; write one like http://127\.0\.0\.1:8000"
    ):
        ScoringClient(url)


@pytest.mark.parametrize(
    "url", ["http://a b", "http://127.0.0.1:99999", "http://[::1", "http://a:port", "http:///score"]
)
def test_what_looks_like_a_url_only_is_told_without_numbers_of_errors(url: str) -> None:
    with pytest.raises(ClientError) as refusal, ScoringClient(url) as client:
        client.score(b"1")
    assert "Errno" not in str(refusal.value)


def test_the_scheme_may_be_in_capitals(service: Service) -> None:
    with ScoringClient(f" HTTP{service.url.removeprefix('http')}/ ", KEY) as client:
        assert len(client.score(b"1")) == 1


def test_a_size_without_pixels_is_refused() -> None:
    with ScoringClient("http://127.0.0.1:9") as client, pytest.raises(ValueError, match="at least 1 pixel"):
        client.score(b"1", resize=(0, 224))


def test_probabilities_are_passed_on_unrounded(service: Service) -> None:
    with ScoringClient(service.url, KEY) as client:
        [result] = client.score(b"12", softmax=True)
    assert isinstance(result, Score)
    assert math.fsum(result.scores) == 1.0


@pytest.mark.parametrize("packing", ["gzip", "gzip, gzip", "br"])
def test_an_answer_that_was_packed_unasked_is_not_unpacked(service: Service, packing: str) -> None:
    service.reply, service.head = (200, gzip.compress(bytes(2**20))), {"Content-Encoding": packing}
    with ScoringClient(service.url, KEY) as client, pytest.raises(UnexpectedAnswer, match="answered compressed"):
        client.score(b"image")


def test_an_answer_without_end_is_left_at_the_limit(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salver.client.scoring.MAX_ANSWER_BYTES", 1000)
    service.reply = (200, b" " * 1001)
    with ScoringClient(service.url, KEY) as client, pytest.raises(UnexpectedAnswer, match="more than 1,000 bytes"):
        client.score(b"image")
