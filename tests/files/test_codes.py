"""Files of codes: whatever the names, all three formats give back what was written."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import zoo
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aectl.errors import DataError
from aectl.files import codes

FORMATS = ("npz", "csv", "parquet")
STRANGE = [
    "a\nb", "\n", "a\rb", "\r", "a\r\nb\r\n", "a\u2028b", "a\u2029", "a\x85b", "\x0b\x0c\x1c", 'a"b', '"', "a,b", ",",
    "'", " a ", "\ta", "", "#a", "name", "z1", "nan", "1e300", "=1+1", "\ufeffa", "a\x1ab", "é", "e\u0301", "🦊",
    "\udcff", "a\udc80.png", "\u202egnp.a", "-", "a;b", "\\", "a\\", "x" * 255,
]  # fmt: skip

# Any text, and any bytes as the system shows them where they are not UTF-8.
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.binary(
    max_size=12
).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(names, min_size=1, max_size=8, unique=True), st.integers(1, 4), st.data())
@example(STRANGE, 3, None)
def test_any_names_and_numbers_come_back_to_the_bit(tmp_path, suffix, names, latent, data):
    path = tmp_path / f"codes.{suffix}"
    shape = (len(names), latent)
    if data is None:
        z = np.linspace(-1, 1, len(names) * latent, dtype=np.float32).reshape(shape)
    else:
        flat = data.draw(st.lists(numbers, min_size=len(names) * latent, max_size=len(names) * latent))
        z = np.array(flat, dtype=np.float32).reshape(shape)
    codes.write(path, names, z)
    found, read = codes.read(path, latent)
    assert found == names
    assert read.numpy().dtype == np.float32
    assert read.numpy().tobytes() == z.tobytes()  # -0.0 too


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("bad", "says"), [(["a\0"], r"'a\\x00'"), (["\ud800"], "ud800"), (["b", "a", "b"], "'b'")])
def test_names_that_no_file_has_or_two_have_are_not_written(tmp_path, suffix, bad, says):
    with pytest.raises(DataError, match=says):
        codes.write(tmp_path / f"a.{suffix}", bad, np.zeros((len(bad), 2), np.float32))
    assert not list(tmp_path.iterdir())


def test_a_csv_is_what_other_programs_read(tmp_path):
    codes.write(tmp_path / "a.csv", ["a,b", 'c"\n'], np.array([[0.1, -2e-30], [1, 3e38]], np.float32))
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["name", "z1", "z2"], ["a,b", "0.1", "-2e-30"], ['c"\n', "1.0", "3e+38"]]


def table(path: Path, columns: dict[str, list]) -> Path:
    """The columns as a file of each kind, by the plain means of its format."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return path
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_columns_go_by_their_names(tmp_path, suffix, caplog):
    path = table(
        tmp_path / f"a.{suffix}",
        {
            "z10": [10.0],
            **{f"z{i}": [float(i)] for i in range(9, 0, -1)},
            "shoes": [7],
            "label": ["x"],
            "psnr": [1.0],
            "s10": [0.1],
            "s11": [1.0],
            "name": ["a"],
        },
    )
    found, read = codes.read(path, 10)
    assert found == ["a"]
    assert read.tolist() == [[float(i) for i in range(1, 11)]]
    assert "columns that are passed over: shoes, s11" in caplog.text


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("columns", "says"),
    [({"name": ["a"], "z1": [0.0]}, "no column z2"), ({"z1": [0.0], "z2": [0.0]}, "no column name"),
     ({"name": ["a"], "z1": [0.0], "z2": [0.0], "z3": [0.0]}, "a column z3"),
     ({"name": ["a"], "Z1": [0.0], "z2": [0.0]}, "no column z1"), ({"name": [], "z1": [], "z2": []}, "no codes|null"),
     ({"name": ["b", "a", "a"], "z1": [0.0] * 3, "z2": [0.0] * 3}, "'a' stands there twice"),
     ({"name": ["a", "b"], "z1": [0.0, 1.0], "z2": [0.0, 1e300]}, r"row [23] \('b'\), column z2: 1e\+300"),
     ({"name": ["a", "b"], "z1": [0.0, 1.0], "z2": [0.0, float("nan")]}, r"row [23] \('b'\), column z2: nan"),
     ({"name": ["a", "b"], "z1": [0.0, -float("inf")], "z2": [0.0, 1.0]}, r"row [23] \('b'\), column z1: -inf"),
     ({"name": ["a", "b"], "z1": [0.0, None], "z2": [0.0, 1.0]}, r"row [23] \('b'\), column z1: is empty")],
)  # fmt: skip
def test_columns_and_numbers_that_are_not_codes_are_named(tmp_path, suffix, columns, says):
    with pytest.raises(DataError, match=says) as caught:
        codes.read(table(tmp_path / f"a.{suffix}", columns), 2)
    assert f"a.{suffix}" in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "no column name"), ("a,0,1\nb,0,1\n", "no column name, but 'a', '0', '1'; its first row must name"),
     ("name,z1,z2,z1\na,0,1,2\n", "column z1 is there twice"),
     ("name;z1;z2\na;0;1\n", "no column name, but 'name;z1;z2'"),
     ("name,z1,z2\na,0,1\nb,2\n", "row 3, that begins with 'b', has 2 cells, the header 3"),
     ("name,z1,z2\na,0,1,5\n", "row 2.*4 cells"), ("name,z1,z2\n\"a,0,1\n", "unexpected end"),
     ("name,z1,z2\na,one,1\n", r"row 2 \('a'\), column z1: 'one' is not a number"),
     ("name,z1,z2\na,0,1_0\n", "column z2: '1_0'"), ("name,z1,z2\na,,1\n", r"row 2 \('a'\), column z1: is empty"),
     ("name,z1,z2\n\n\nc,0,1\nb, ,1\n", r"row 5 \('b'\), column z1: is empty"), ("name,z1,z2\n", "holds no codes")],
)  # fmt: skip
def test_a_csv_that_is_none_of_codes_is_refused_by_row_and_column(tmp_path, text, says):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        codes.read(tmp_path / "a.csv", 2)


def test_a_csv_of_another_program_is_read(tmp_path):
    text = '\ufeffname, z2,z1\r\n"a\r\nb", 2,1\r\n\r\nc,1e-400,-0\r\n\r\n'
    (tmp_path / "a.csv").write_bytes(text.encode())
    found, read = codes.read(tmp_path / "a.csv", 2)
    assert found == ["a\r\nb", "c"]
    assert read.tolist() == [[1, 2], [0, 0]]


def test_strange_files_of_codes_are_refused(tmp_path):
    zeros, one = np.zeros((1, 2)), np.array(["a"])
    np.savez(tmp_path / "nan.npz", codes=np.full((1, 2), np.nan), names=one)
    np.savez(tmp_path / "flat.npz", codes=np.zeros(2), names=one)
    np.savez(tmp_path / "wide.npz", codes=np.zeros((1, 3)), names=one)
    np.savez(tmp_path / "unnamed.npz", codes=np.zeros((2, 2)), names=one)
    np.savez(tmp_path / "lacking.npz", names=one)
    np.savez(tmp_path / "numbered.npz", codes=zeros, names=np.array([1]))
    np.savez(tmp_path / "nested.npz", codes=zeros, names=np.array([["a"]]))
    np.savez(tmp_path / "complex.npz", codes=zeros + 1j, names=one)
    np.savez(tmp_path / "truths.npz", codes=zeros > 0, names=one)
    np.savez(tmp_path / "twice.npz", codes=np.zeros((2, 2)), names=np.array(["a", "a"]))
    np.savez(tmp_path / "none.npz", codes=np.zeros((0, 2)), names=np.array([], dtype=str))
    payload = np.empty(1, dtype=object)
    payload[:] = [zoo.Payload()]
    np.savez(tmp_path / "pickled.npz", codes=payload, names=one)
    np.savez(tmp_path / "pickled_names.npz", codes=zeros, names=payload)
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        archive.writestr("codes.npy", b"hello")
        archive.writestr("names.npy", b"hello")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("codes.npy", bytes(2**25))
    np.save(tmp_path / "array.npy", zeros)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "text.parquet").write_text("hello")
    table(tmp_path / "words.parquet", {"name": ["a"], "z1": ["0"], "z2": [0.0]})
    table(tmp_path / "numbers.parquet", {"name": [1], "z1": [0.0], "z2": [0.0]})
    table(tmp_path / "nameless.parquet", {"name": [None, "a"], "z1": [0.0] * 2, "z2": [0.0] * 2})
    table(tmp_path / "truths.parquet", {"name": ["a"], "z1": [True], "z2": [0.0]})
    table(tmp_path / "structs.parquet", {"name": [{"a": "b"}], "z1": [0.0], "z2": [0.0]})
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DataError, match=path.name) as caught:
            codes.read(path, 2)
        assert len(str(caught.value).splitlines()) == 1
    assert not Path("canary").exists()


@pytest.mark.parametrize(
    ("rows", "name", "says"), [(10_000_001, "a", "10000001 codes"), (1000, "a" * 70_000, "more than 65536 bytes")]
)
def test_a_small_parquet_of_many_codes_or_long_names_is_refused_before_it_grows(tmp_path, rows, name, says):
    column = pyarrow.DictionaryArray.from_arrays(np.zeros(rows, np.int8), [name])
    zeros = np.zeros(rows, np.float32)
    pyarrow.parquet.write_table(pyarrow.table({"name": column, "z1": zeros, "z2": zeros}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 2_000_000
    with pytest.raises(DataError, match=says):
        codes.read(tmp_path / "a.parquet", 2)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_refused_in_one_line_or_read(tmp_path, suffix, data):
    path = tmp_path / f"a.{suffix}"
    codes.write(path, ["a", "b\n"], np.ones((2, 2), np.float32))
    content = path.read_bytes()
    start, lost = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 9))
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=4)) + content[start + lost :])
    try:
        found, read = codes.read(path, 2)
    except DataError as error:
        said = str(error)
    else:
        said = path.name
        assert len(found) == len(set(found)) == len(read)
        assert read.isfinite().all()
    assert path.name in said
    assert len(said.splitlines()) == 1
