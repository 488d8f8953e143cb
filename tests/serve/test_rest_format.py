"""The JSON of TensorFlow Serving: what is read, what is refused and in which words, and what is written."""

import base64
import json
import math

import numpy as np
import pytest

from kerazoo.serve import rest_format
from kerazoo.serve.request_error import RequestError
from kerazoo.serve.rest_format import TensorInfo

TEXT = TensorInfo(np.dtype(object), (None,))
PIXELS = TensorInfo(np.dtype("uint8"), (None, 2, 3))
WINDOW = TensorInfo(np.dtype("float64"), (None, 2))
FLAG = TensorInfo(np.dtype(bool), (None,))
SOUND = TensorInfo(np.dtype("float32"), (None, None))
FACTOR = TensorInfo(np.dtype("float32"), (), default=np.array(7, "float32"))
PAIR = {"a": TEXT, "b": WINDOW}


def read(signature, **request):
    body = json.dumps(request).encode()
    return rest_format.read_tensors(rest_format.read_body(body), signature, max_text_length=11)


def test_rows_of_one_input_are_its_values():
    found = read({"source": TEXT}, instances=["ab", {"b64": base64.b64encode(b"\xff\0").decode()}, "ü"])
    assert found["source"].tolist() == [b"ab", b"\xff\0", "ü".encode()]
    images = np.arange(30).reshape(5, 2, 3)
    found = read({"source": PIXELS}, instances=images.tolist())
    np.testing.assert_array_equal(found["source"], images)
    assert found["source"].dtype == np.uint8
    assert read({"source": TEXT}, instances=[{"source": "ab"}])["source"].tolist() == [b"ab"]
    (numbers,) = read({"source": SOUND}, instances=[[1, math.nan, -math.inf]]).values()
    np.testing.assert_array_equal(numbers, np.array([[1, np.nan, -np.inf]], "float32"))


def test_rows_and_columns_of_several_inputs_are_alike():
    rows = read(PAIR, instances=[{"a": "x", "b": [1, 2.5]}, {"b": [3, 4], "a": "y"}])
    columns = read(PAIR, inputs={"a": ["x", "y"], "b": [[1, 2.5], [3, 4]]})
    for found in (rows, columns):
        assert found["a"].tolist() == [b"x", b"y"]
        np.testing.assert_array_equal(found["b"], [[1, 2.5], [3, 4]])
    assert read({"a": TEXT, "factor": FACTOR}, instances=["x"])["factor"] == 7
    found = read({"a": TEXT, "factor": FACTOR}, inputs={"a": ["x"], "factor": 2})
    assert found["factor"].shape == () and found["factor"] == 2


def test_an_empty_list_holds_no_values_of_any_shape():
    prompt = TensorInfo(np.dtype("uint8"), (None, None, 8, 1))
    assert read({"prompt": prompt}, instances=[[], []])["prompt"].shape == (2, 0, 8, 1)
    assert read({"source": PIXELS}, inputs=[])["source"].shape == (0, 2, 3)
    with pytest.raises(RequestError, match=r"must have the shape \['any', 2, 3\]; got \[2, 0, 3\]"):
        read({"source": PIXELS}, instances=[[], []])


REFUSED = [
    (TEXT, {"instances": []}, "`instances` must be a list of at least one example; got []"),
    (TEXT, {"instances": "abc"}, "`instances` must be a list of at least one example; got 'abc'"),
    (TEXT, {"instances": ["a", 5]}, "Input `x` must be strings or {\"b64\": ...}; got 5 at instances[1]."),
    (TEXT, {"instances": ["a", None]}, "got None at instances[1]"),
    (TEXT, {"inputs": {"x": ["a", ["b"]]}}, "got ['b'] at inputs.x[1]"),
    (TEXT, {"instances": [["a"]]}, "Input `x` must have the shape ['any']; got [1, 1]"),
    (TEXT, {"instances": ["a", "b" * 12]}, "texts of at most 11 characters; got 'bbbbbbbbbbbb' at instances[1]"),
    (TEXT, {"instances": ["\ud800"]}, "must be Unicode or base64; got '\\ud800' at instances[0]"),
    (TEXT, {"instances": [{"b64": "?"}]}, "must be Unicode or base64; got {'b64': '?'} at instances[0]"),
    (TEXT, {"instances": [{"y": "a"}]}, "instances[0] has the unknown input 'y'; the signature has ['x']"),
    (TEXT, {"instances": [{"x": "a"}, "b"]}, "instances[1] must have the inputs ['x']; got 'b'"),
    (TEXT, {"inputs": {}}, "`inputs` lacks the input `x`"),
    (PIXELS, {"instances": [[[1, 2, 3], [4, 5]]]}, "lists of 3 values each; got 2 at instances[0][1]"),
    (PIXELS, {"instances": [[[1, 2, 3], [4, 5, 256]]]}, "must be in [0, 255]; got 256 at instances[0][1][2]"),
    (PIXELS, {"instances": [[[1, 2, 3], [4, 5, 10**30]]]}, "must be in [0, 255]; got 1000000"),
    (PIXELS, {"instances": [[[1, 2, 3], [4, 5, 0.5]]]}, "must be whole numbers; got 0.5 at instances[0][1][2]"),
    (PIXELS, {"instances": [[[1, 2, 3], [4, 5, True]]]}, "must be whole numbers; got True"),
    (PIXELS, {"instances": [[[1, 2], [4, 5]]]}, "must have the shape ['any', 2, 3]; got [1, 2, 2]"),
    (WINDOW, {"instances": [[1, "2"]]}, "must be numbers; got '2' at instances[0][1]"),
    (SOUND, {"instances": [[1, 1e300]]}, "must be numbers of float32; got 1e+300 at instances[0][1]"),
    (FLAG, {"instances": [True, 1]}, "must be true or false; got 1 at instances[1]"),
]  # fmt: skip


@pytest.mark.parametrize("info, request_, message", REFUSED, ids=[row[2][:50] for row in REFUSED])
def test_values_that_do_not_fit_are_refused_with_input_rule_and_value(info, request_, message):
    with pytest.raises(RequestError) as error:
        read({"x": info}, **request_)
    assert message in str(error.value) and error.value.status == 400


@pytest.mark.parametrize(
    "body, message",
    [
        (b"", "The body must be JSON; got b''"),
        (b'{"instances": ["a"', "The body must be JSON; got"),
        (b"\xff\xfe", "The body must be JSON; got b'\\xff\\xfe'"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"instances": [' + b"9" * 5000 + b"]}", "The body must be JSON"),
        (b"[1]", "The body must be a JSON object; got [1]"),
        (b"{}", "either `instances` or `inputs`; got the keys []"),
        (b'{"instances": [1], "inputs": [1]}', "either `instances` or `inputs`; got both"),
        (b'{"instance": [1]}', "unknown key 'instance'; it may have signature_name, instances, inputs"),
        (b'{"instances": [1], "signature_name": 5}', "`signature_name` must be a string; got 5"),
    ],
)
def test_bodies_that_are_no_request_are_refused(body, message):
    with pytest.raises(RequestError) as error:
        rest_format.read_body(body)
    assert message in str(error.value) and error.value.status == 400 and len(str(error.value)) < 300


def test_several_inputs_need_names():
    with pytest.raises(RequestError, match="has the inputs a, b: each of the `instances` must be an object"):
        read(PAIR, instances=["a"])
    with pytest.raises(RequestError, match="has the inputs a, b: `inputs` must be an object"):
        read(PAIR, inputs=["a"])
    with pytest.raises(RequestError, match=r"instances\[1\] must have the inputs \['a', 'b'\]; got those of \['a'\]"):
        read(PAIR, instances=[{"a": "x", "b": [1, 2]}, {"a": "y"}])


def test_one_output_has_no_name_and_several_have():
    one = {"y": np.array([[1, 2], [3, 4]], "int32")}
    assert json.loads(rest_format.write_rows(one)) == {"predictions": [[1, 2], [3, 4]]}
    assert json.loads(rest_format.write_columns(one)) == {"outputs": [[1, 2], [3, 4]]}
    two = {"t": np.array(["ü".encode(), b"\xff"], object), "f": np.array([0.1, 1e-7], "float32")}
    assert rest_format.write_rows(two).decode() == '{"predictions":[{"f":0.1,"t":"ü"},{"f":1e-07,"t":"\ufffd"}]}'
    assert rest_format.write_columns(two).decode() == '{"outputs":{"f":[0.1,1e-07],"t":["ü","\ufffd"]}}'


def test_numbers_and_bytes_are_written_so_that_they_can_be_read_back():
    values = np.concatenate([np.random.default_rng(3).normal(size=97).astype("float32"), [np.float32(3.4e38)]])
    (found,) = json.loads(rest_format.write_columns({"y": values.astype("float32")})).values()
    np.testing.assert_array_equal(np.array(found, "float32"), values.astype("float32"))
    assert rest_format.write_columns({"y": np.array([np.nan, np.inf])}) == b'{"outputs":[NaN,Infinity]}'
    files = {"png_bytes": np.array([b"\xff\0"], object)}
    assert rest_format.write_columns(files) == b'{"outputs":[{"b64":"/wA="}]}'
    scalars = {"rate": np.array(7), "yes": np.array(True)}
    assert rest_format.write_columns(scalars) == b'{"outputs":{"rate":7,"yes":true}}'
    with pytest.raises(RequestError, match=r"`rate` has the shape \[\], not a row for each of the `instances`"):
        rest_format.write_rows(scalars)
