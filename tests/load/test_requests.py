"""Requests from JSON, placeholders, and what is said of JSON that does not fit."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from google.protobuf import any_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from pygrpc.load.errors import LoadError
from pygrpc.load.requests import Place, Requests, check_placeholders, described_by, fill_in, pool_of, read_requests
from tests.protos.grpc.testing import messages_pb2

SIMPLE = messages_pb2.SimpleRequest


def sizes(requests: Requests, number: int) -> list[int]:
    render = pickle.loads(pickle.dumps(requests)).renderer()
    return [SIMPLE.FromString(render(index, Place(index + 1))).response_size for index in range(number)]


def test_a_request_without_json_is_empty() -> None:
    assert read_requests([], SIMPLE.DESCRIPTOR) == Requests((b"",))


@pytest.mark.parametrize(
    "texts",
    [
        ['{"response_size": 1}', '{"responseSize": 2}', '{"responseSize": "3"}'],
        ['[{"response_size": 1}, {"response_size": 2}]', '{"response_size": 3}'],
        ['{"response_size": 1}\n\n{"response_size": 2} {"response_size": 3}\n'],
    ],
)
def test_several_requests_are_sent_in_turn(texts: list[str]) -> None:
    assert sizes(read_requests(texts, SIMPLE.DESCRIPTOR), 7) == [1, 2, 3, 1, 2, 3, 1]


def test_placeholders_differ_from_call_to_call() -> None:
    requests = read_requests(['{"response_size": "{{ call }}"}', '{"response_size": "1{{call}}"}'], SIMPLE.DESCRIPTOR)
    assert requests.serialized == ()
    assert sizes(requests, 4) == [1, 12, 3, 14]


def test_each_placeholder() -> None:
    place = Place(call=7, message=3, client=2, process=1)
    filled = fill_in({"a": ["{{call}}-{{message}}-{{client}}-{{process}}"], "b": "{{uuid}} {{time_ms}}", "c": 5}, place)
    assert (filled["a"], filled["c"]) == (["7-3-2-1"], 5)
    other = fill_in("{{uuid}} {{time_ms}}", place)
    identifier, time = other.split()
    assert len(identifier) == 36 and int(time) > 1_700_000_000_000
    assert filled["b"].split()[0] != identifier


VALUES = st.recursive(
    st.none() | st.integers() | st.text("ab{ }"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_what_has_no_placeholder_stays(value: Any) -> None:
    try:
        assert not check_placeholders(value)
    except LoadError as error:
        assert "there is no placeholder" in str(error)
    else:
        assert fill_in(value, Place(1)) == value


def test_literal_braces() -> None:
    text = json.dumps({"response_status": {"message": "{{name}}"}})
    with pytest.raises(LoadError, match=r"there is no placeholder \{\{name\}\}: there are call, .*--literal"):
        read_requests([text], SIMPLE.DESCRIPTOR)
    (serialized,) = read_requests([text], SIMPLE.DESCRIPTOR, placeholders=False).serialized
    assert SIMPLE.FromString(serialized).response_status.message == "{{name}}"


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (['{"respnse_size": 1}'], r"^the request is no grpc\.testing\.SimpleRequest: .*respnse_size"),
        (["{}", '{"response_size": "many"}'], r"^request 2 is no grpc\.testing\.SimpleRequest: .*response_size"),
        (['{"payload": {"body": "abcde"}}'], r"body"),
        (['{"response_size": 99999999999}'], r"response_size"),
        (["7"], r"is no grpc\.testing\.SimpleRequest"),
        (['{"response_size": 1'], r"^the request is no JSON: .* at line 1, column 20$"),
        (["{}\n{} x"], r"^the request is no JSON: .* at line 2, column 4$"),
        (["  \n"], r"^the request is empty"),
        (['{"response_size": "x{{call}}"}'], r"response_size"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(texts: list[str], said: str) -> None:
    with pytest.raises(LoadError, match=said) as caught:
        read_requests(texts, SIMPLE.DESCRIPTOR)
    assert "\n" not in str(caught.value)


def test_messages_in_any_are_known_in_other_processes() -> None:
    text = json.dumps({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "n{{call}}"})
    requests = read_requests([text], any_pb2.Any.DESCRIPTOR)
    packed = any_pb2.Any.FromString(requests.renderer()(0, Place(9)))
    value = wrappers_pb2.StringValue()
    assert packed.Unpack(value) and value.value == "n9"


def test_an_unknown_type_in_any() -> None:
    text = json.dumps({"@type": "type.googleapis.com/nobody.Knows", "value": "{{call}}"})
    with pytest.raises(LoadError, match=r"nobody\.Knows"):
        read_requests([text], any_pb2.Any.DESCRIPTOR)


def test_files_come_with_their_imports_in_any_order() -> None:
    files = described_by([messages_pb2.DESCRIPTOR])
    pool = pool_of(reversed(files))
    assert pool.FindMessageTypeByName(SIMPLE.DESCRIPTOR.full_name).fields_by_name["payload"].number == 3
