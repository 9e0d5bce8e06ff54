import json

import pytest

from loadtest.results.answer import NOT_AN_ANSWER, Answers
from loadtest.traffic.payload import Kind, Payload, Refusal

ITEM = {"label": "b", "label_index": 1, "score": 0.9, "scores": [0.1, 0.9]}
OTHER = {"label": "a", "label_index": 0, "score": 0.7, "scores": [0.7, 0.3]}


def asked(*photos: int, softmax: bool = False, refusal: Refusal | None = None) -> Payload:
    return Payload(Kind.LIST, "/score", {}, b"", photos, softmax, refusal)


def fault(payload: Payload, answer: object, status: int = 200, answers: Answers | None = None) -> str | None:
    return (answers or Answers()).fault(payload, status, json.dumps(answer).encode())


def test_a_right_answer_has_no_fault() -> None:
    assert fault(asked(0, 1, softmax=True), [ITEM, OTHER]) is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([ITEM], "2 images sent, 1 answered"),
        ([ITEM, {"error": {"type": "urn:salver:overloaded"}}], "item error urn:salver:overloaded in a 200"),
        ([ITEM, {"label": "b"}], NOT_AN_ANSWER),
        ({"fine": True}, NOT_AN_ANSWER),
        ([ITEM, ITEM | {"scores": [None, 1.0]}], NOT_AN_ANSWER),
        ([ITEM, ITEM | {"scores": [float("nan"), 1.0]}], NOT_AN_ANSWER),
        ([ITEM, ITEM | {"scores": [3.0, 1.0]}], "the softmax does not sum to 1"),
    ],
)
def test_a_wrong_answer_is_named(answer: object, words: str) -> None:
    assert fault(asked(0, 1, softmax=True), answer) == words


def test_an_image_at_another_place_must_get_its_own_scores() -> None:
    answers = Answers()
    assert fault(asked(0, 1), [ITEM, OTHER], answers=answers) is None
    assert fault(asked(1), [OTHER], answers=answers) is None
    assert fault(asked(1, 0), [ITEM, OTHER], answers=answers) == (
        "other scores than in the first answer for the same image"
    )
    assert fault(asked(0), [ITEM | {"scores": [1.0]}], answers=answers) == "other labels than in the first answer"


def test_a_status_is_named_with_its_error() -> None:
    assert fault(asked(0), {"type": "urn:salver:overloaded"}, 429) == "status 429 urn:salver:overloaded"
    assert fault(asked(0), "no problem", 502) == "status 502"


def test_an_expected_refusal_is_right_and_any_other_answer_wrong() -> None:
    refusal = Refusal(422, "urn:salver:undecodable-image")
    assert fault(asked(refusal=refusal), {"type": refusal.type, "status": 422}, 422) is None
    words = "expected 422 urn:salver:undecodable-image, got 200"
    assert fault(asked(refusal=refusal), [ITEM], 200) == words


def test_a_strangers_words_are_no_part_of_what_is_said() -> None:
    """They would reach the terminal, and the tables that a spreadsheet opens."""
    said = {"type": "=cmd|' /C calc'!A0\x1b]0;owned\x07"}
    named = "of a kind that is not Salver's"
    assert fault(asked(0), said, status=500) == f"status 500 {named}"
    assert fault(asked(0), [{"error": said}]) == f"item error {named} in a 200"
    refused = asked(0, refusal=Refusal(422, "urn:salver:x"))
    assert fault(refused, said, status=422) == f"expected 422 urn:salver:x, got 422 {named}"
