"""Spaces from the files that people keep vectors in."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from embedsearch.errors import BadVector, EmbedsearchError, OptionError, SpaceError, StoreNotFound
from embedsearch.store.space import Space
from embedsearch.store.vector_writer import write_space

N, DIM = 700, 5
IDS = [f"2301.{i:05d}" for i in range(N)]
ROWS = np.random.default_rng(0).normal(size=(N, DIM))
UNIT = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
SPACE = Space.of(IDS, ROWS, name="made", model_name="minilm", recipe={"weights": "w", "transform": "center"})


def lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def table(path: Path, columns: dict[str, Any], **metadata: str) -> Path:
    made = pa.table(columns)
    pq.write_table(made.replace_schema_metadata(metadata or None), path)
    return path


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def same(space: Space, *, atol: float = 1e-6) -> None:
    assert list(space.ids) == IDS
    np.testing.assert_allclose(space.vectors, UNIT, atol=atol)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", ["v.npz", "v.npy", "v.parquet", "v.jsonl", "V.NPZ"])
def test_what_is_written_can_be_read_with_recipe_and_model(tmp_path: Path, name: str, dtype: str) -> None:
    write_space(tmp_path / name, SPACE, dtype=dtype)
    space = Space.open(tmp_path / name)
    same(space, atol=1e-3 if dtype == "float16" else 1e-6)
    assert (space.name, space.model_name, space.label) == (name, "minilm", "minilm (center)")
    assert space.recipe == SPACE.recipe
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({name, *(["v.ids.json"] * name.endswith("y"))})


def test_others_can_read_what_is_written(tmp_path: Path) -> None:
    for suffix in ("npz", "parquet", "jsonl"):
        write_space(tmp_path / f"v.{suffix}", SPACE)
    assert pq.read_table(tmp_path / "v.parquet").to_pylist()[1]["id"] == IDS[1]
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == IDS
        np.testing.assert_allclose(arrays["vectors"], UNIT, atol=1e-6)
    record = json.loads((tmp_path / "v.jsonl").read_text().splitlines()[1])
    assert list(record) == ["id", "model", "embedding"]


def test_what_is_there_is_whole_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    write_space(path, SPACE)
    before = path.read_bytes()
    bad = Space.of(["x", "y"], [[0, 1.0], [1, 1]]).transformed("truncate:1")
    for name in ("v.npz", "new.jsonl", "new.parquet"):
        with pytest.raises(BadVector, match="paper x"):
            write_space(tmp_path / name, bad)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["v.npz"]
    with pytest.raises(OptionError, match=r"a file to write \(.npz, .npy, .parquet, .jsonl\), found 'v.csv'"):
        write_space(tmp_path / "v.csv", SPACE)
    with pytest.raises(OptionError, match="expected a dtype of float16 or float32, found 'int8'"):
        write_space(path, SPACE, dtype="int8")


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f8"])
def test_arrays_of_each_dtype(tmp_path: Path, dtype: str) -> None:
    array, tolerance = ROWS.astype(dtype), 1e-3 if dtype == "<f2" else 1e-6
    same(Space.open(npz(tmp_path / "a.npz", ids=np.array(IDS), vectors=array)), atol=tolerance)
    np.save(tmp_path / "b.npy", np.asfortranarray(array))
    (tmp_path / "b_ids.txt").write_text("\n".join(IDS))
    same(Space.open(tmp_path / "b.npy"), atol=tolerance)


@pytest.mark.parametrize("name", ["v.ids.json", "v.ids.txt", "v.ids.npy", "v_ids.json", "v_ids.txt", "v_ids.npy"])
def test_ids_beside_an_array(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "v.npy", ROWS)
    beside = tmp_path / name
    if beside.suffix == ".npy":
        np.save(beside, np.array(IDS).astype("S"))
    else:
        beside.write_text(json.dumps(IDS) if beside.suffix == ".json" else "\n".join(IDS) + "\n")
    same(Space.open(tmp_path / "v.npy"))


@pytest.mark.parametrize("name", ["pickled", "compressed"])
def test_archives(tmp_path: Path, name: str) -> None:
    """Other arrays may be pickled: they are not looked at."""
    if name == "compressed":
        np.savez_compressed(tmp_path / "v.npz", ids=IDS, embeddings=ROWS, model="ada-002", recipe="no JSON")
    else:
        npz(tmp_path / "v.npz", _id=IDS, emb=ROWS, titles=np.array([None, 1]), model_name="other")
    space = Space.open(tmp_path / "v.npz")
    same(space)
    assert space.model_name == ("ada-002" if name == "compressed" else "v")
    assert space.recipe == {}


@pytest.mark.parametrize(
    "type",
    [
        pa.list_(pa.float32()), pa.list_(pa.float64()), pa.list_(pa.float16()), pa.large_list(pa.float32()),
        pa.list_(pa.float32(), DIM), pa.list_(pa.float64(), DIM),
    ],
)  # fmt: skip
def test_parquet_of_each_type(tmp_path: Path, type: pa.DataType) -> None:
    halves = pa.types.is_float16(type.value_type)
    values = [[np.float16(x) for x in row] if halves else row.tolist() for row in ROWS]
    path = table(tmp_path / "v.parquet", {"arxiv_id": IDS, "embed": pa.array(values, type)}, model="ada-002")
    space = Space.open(path)
    same(space, atol=1e-3 if halves else 1e-6)
    assert space.model_name == "ada-002"


@pytest.mark.parametrize("as_text", [lambda row: json.dumps(row.tolist()), lambda row: encoded(row)])
def test_vectors_as_text(tmp_path: Path, as_text: Callable[[Any], str]) -> None:
    cells = [as_text(row) for row in ROWS]
    same(Space.open(table(tmp_path / "v.parquet", {"id": IDS, "embedding": cells})))
    same(Space.open(lines(tmp_path / "v.jsonl", [{"id": i, "vector": c} for i, c in zip(IDS, cells, strict=True)])))
    rows = "".join(f'{id},"{cell}"\n' for id, cell in zip(IDS, cells, strict=True))
    (tmp_path / "v.csv").write_text("paper_id,Embedding\n" + rows)
    same(Space.open(tmp_path / "v.csv"))


def encoded(row: Any) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


def test_vectors_as_numpy_prints_them(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text('id,emb\nx,"[ 0.6\n  -0.8]"\ny,"[1. 0.]"\n')
    assert Space.open(tmp_path / "v.csv").vectors.tolist() == [[np.float32(0.6), np.float32(-0.8)], [1, 0]]
    (tmp_path / "v.csv").write_text('id,emb\nx,"[ 0.6 ... -0.8]"\n')
    with pytest.raises(SpaceError, match=r"line 2, paper x: .*NumPy has shortened"):
        Space.open(tmp_path / "v.csv")


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_json_lines_packed_or_not(tmp_path: Path, suffix: str) -> None:
    records = [{"_id": i, "text": "x", "openai": v.tolist(), "doi": None} for i, v in zip(IDS, ROWS, strict=True)]
    path = lines(tmp_path / "ada.jsonl", records)
    pack: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
    if suffix:
        (tmp_path / f"ada.jsonl{suffix}").write_bytes(pack[suffix](path.read_bytes()))
    space = Space.open(tmp_path / f"ada.jsonl{suffix}")
    same(space)
    assert (space.model_name, space.name) == ("ada", f"ada.jsonl{suffix}")


@pytest.mark.parametrize(
    ("ids", "vectors", "others"),
    [
        ("arxiv_id", "embed", {"ads_id": "2020ApJ...1", "date": "2020", "cites": 3}),  # pathfinder
        ("_id", "openai", {"title": "t", "text": "x"}),  # dbpedia
        ("DOI", "vector", {"id": 7, "title": "t"}),  # Qdrant's
        ("DOI", "vector", {"id": "a-b-c"}),
    ],
)
def test_data_sets_as_they_are(tmp_path: Path, ids: str, vectors: str, others: dict[str, Any]) -> None:
    columns = {k: [v] * N for k, v in others.items()} | {ids: IDS, vectors: list(ROWS)}
    same(Space.open(table(tmp_path / "v.parquet", columns)))
    records = [{**others, ids: i, vectors: v.tolist()} for i, v in zip(IDS, ROWS, strict=True)]
    same(Space.open(lines(tmp_path / "v.jsonl", records)))


def test_two_columns_of_vectors_are_told_apart_by_the_user(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = {"id": IDS, "title-embeddings": list(-ROWS), "abstract-embeddings": list(ROWS), "n": [1] * N}
    path = table(tmp_path / "v.parquet", columns)
    message = "found title-embeddings, abstract-embeddings; say which it is with --field embedding=title-embeddings"
    with pytest.raises(SpaceError, match=message):
        Space.open(path)
    same(Space.open(path, fields={"embedding": "abstract-embeddings"}))
    with pytest.raises(SpaceError, match=r"expected a column 'no' \(embedding\), found id, title-embeddings, abstract"):
        Space.open(path, fields={"embedding": "no"})
    with pytest.raises(OptionError, match=r"\(id, embedding\), found 'title'"):
        Space.open(path, fields={"title": "no"})
    both = lines(tmp_path / "v.jsonl", [{"id": 1, "embedding": [1.0], "openai": [2.0]}])
    with pytest.raises(SpaceError, match="found embedding, openai; say which"):
        Space.open(both)
    assert len(Space.open(both, fields={"embedding": "openai"})) == 1
    one = lines(tmp_path / "w.jsonl", [{"id": 1, "embedding": [1.0]}])
    assert len(Space.open(one, fields={"embedding": "openai"})) == 1  # of several files not all need it
    assert "w.jsonl has no column 'openai': its embedding is taken from 'embedding'" in caplog.text
    with pytest.raises(
        SpaceError, match=r"expected one column of ids \(.*\), found name, embedding; say which it is with"
    ):
        Space.open(lines(tmp_path / "x.jsonl", [{"name": "x", "embedding": [1.0]}]))
    assert len(Space.open(tmp_path / "x.jsonl", fields={"id": "name"})) == 1


def answer(id: str, *vectors: Any, status: int = 200, model: str = "text-embedding-ada-002") -> dict[str, Any]:
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    body = {"object": "list", "data": data, "model": model, "usage": {"total_tokens": 3}}
    if status != 200:
        body = {"error": {"message": "too long", "code": 400}}
    return {"id": "b", "custom_id": id, "response": {"status_code": status, "body": body}, "error": None}


def test_batch_output(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers = [answer(i, v.tolist() if len(i) % 2 else encoded(v)) for i, v in zip(IDS, ROWS, strict=True)]
    failed = [
        answer("2301.99999", status=400),
        {"custom_id": "2301.99998", "response": None, "error": {"code": "expired", "message": "no time left"}},
    ]
    space = Space.open(lines(tmp_path / "batch_1_output.jsonl", [failed[0], *answers, failed[1]]))
    same(space)
    assert space.model_name == "text-embedding-ada-002"
    assert (
        "batch_1_output.jsonl: 2 requests failed and have no vector: line 1, 2301.99999: status 400, too long"
        in caplog.text
    )
    assert "2301.99998: no time left" in caplog.text
    for records, message in (
        (failed, "expected answers with vectors, found that every request failed: line 1, 2301.99999: status 400"),
        ([answer("x", [1.0], [2.0])], "line 1, paper x: expected one embedding, found 2"),
        ([answer("x", [1.0]), answer("y", [1.0], model="other")], "one model, found text-embedding-ada-002, other"),
        ([answer("x", [1.0]), answer("y", None)], "line 2, paper y: expected a list of numbers, found nothing"),
        ([{"custom_id": "x", "response": 3}], "line 1: expected an answer of the Batch API"),
    ):
        with pytest.raises(SpaceError, match=message):
            Space.open(lines(tmp_path / "b.jsonl", records))


def test_the_same_id_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ids = [*IDS, "arXiv:2301.00003v2", "2301.00600"]
    for opened, change in (("twice", 0), ("changed", 1)):
        rows = np.concatenate([ROWS, ROWS[[3, 600]]])
        rows[-1] += change
        np.save(tmp_path / "v.npy", rows)
        (tmp_path / "v.ids.txt").write_text("\n".join(ids))
        paths = [npz(tmp_path / "v.npz", ids=ids, vectors=rows), tmp_path / "v.npy"]
        for path in paths:
            if opened == "twice":
                same(Space.open(path))
                assert f"{path.name}: 2 ids stand there again with the same vector" in caplog.text
            else:
                with pytest.raises(SpaceError, match=r"row 702, paper 2301.00600: expected one vector of each paper"):
                    Space.open(path)


def test_model_and_nan_elsewhere_in_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "v.jsonl"
    path.write_text(
        '\ufeff{"id": "x", "doi": NaN, "embedding": [1, 0], "model": "ada"}\n\n{"id": "y", "embedding": [0, 1]}'
    )
    assert Space.open(path).model_name == "ada"
    lines(path, [{"id": "x", "vector": [1], "model": "a"}, {"id": "y", "vector": [1], "model": "b"}])
    with pytest.raises(SpaceError, match="line 2: expected vectors of one model, found 'b' behind 'a'"):
        Space.open(path)


GOOD = b'{"id": "x", "embedding": [1.0, 2.0]}\n'
TEXTS: list[tuple[str, bytes, type[Exception], str]] = [
    ("v.jsonl", b"", SpaceError, "v.jsonl: expected vectors, found an empty file"),
    ("v.jsonl", b"\n \n", SpaceError, "v.jsonl: expected vectors, found none"),
    ("v.jsonl", GOOD + GOOD[:20], SpaceError, "line 2: expected a JSON object, found broken JSON .*may have been cut"),
    ("v.jsonl", b"[" + GOOD + b"]", SpaceError, r"found a JSON array; convert it with: jq -c '.\[\]'"),
    ("v.jsonl", GOOD + b"3\n", SpaceError, "line 2: expected a JSON object, found another value"),
    ("v.jsonl", GOOD + b"\xff\n", SpaceError, "line 2: expected a JSON object, found broken JSON"),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": [1]}', SpaceError, "line 2, paper y: expected 2 numbers as before"),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": []}', SpaceError, "line 2, paper y: expected 2 numbers as before, f"),
    ("v.jsonl", b'{"id": "y", "embedding": []}', SpaceError, "line 1, paper y: expected numbers, found an empty list"),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": [1, null]}', SpaceError, "line 2, paper y: .*got `null`"),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": [[1, 2]]}', SpaceError, "line 2, paper y: .*got `array`"),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": null}', SpaceError, "line 2, paper y: .*found nothing"),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": 3}', SpaceError, "line 2, paper y: .*found a int"),
    ("v.jsonl", GOOD + b'{"id": "y"}', SpaceError, "line 2, paper y: .*found nothing"),
    ("v.jsonl", GOOD + b'{"embedding": [1, 2]}', SpaceError, "line 2: expected an id, found none"),
    ("v.jsonl", GOOD + b'{"id": 704.001, "embedding": [1, 2]}', SpaceError, "found a number: so 0704.0010 loses"),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": [NaN, 2]}', BadVector, "line 2, paper y: .*found NaN or infinity"),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": [0, 0.0]}', BadVector, "line 2, paper y: .*found zero"),
    ("v.jsonl", GOOD + b'{"id": "x", "embedding": [1, 0]}', SpaceError, "line 2, paper x: expected one vector of each"),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": "AAA?"}', SpaceError, "neither a list nor float32 in base64"),
    ("v.jsonl", GOOD + b'{"id": "\xff", "embedding": [1, 2]}', SpaceError, "line 2: expected UTF-8, found other bytes"),
    ("v.jsonl", b'{"id": "\xff", "embedding": [1, 2]}', SpaceError, "line 1: expected UTF-8, found other bytes"),
    (
        "v.jsonl",
        GOOD + b'{"id": 1' + b"0" * 5000 + b', "embedding": [1, 2]}',
        SpaceError,
        "line 2: expected JSON, found",
    ),
    ("v.jsonl", b'{"custom_id": "\xff", "response": null}', SpaceError, "line 1: expected UTF-8, found other bytes"),
    (
        "v.jsonl",
        GOOD + b'{"id": ["y"], "embedding": [1, 2]}',
        SpaceError,
        "line 2: expected text as an id, found a list",
    ),
    ("v.jsonl", GOOD + b'{"id": "y", "embedding": [1e300, 2]}', BadVector, "line 2, paper y: .*too large or too small"),
    ("v.jsonl.gz", gzip.compress(GOOD * 9)[:-9], SpaceError, "expected more compressed data"),
    ("v.csv", b"id,title\nx,y\n", SpaceError, "found id, title; say which it is with --field embedding="),
    ("v.csv", b'id,emb\nx,"[1, 2]"\ny,"[1, 2"\n', SpaceError, "line 3, paper y: .*a list that is broken"),
    ("v.csv", b'id,emb\nx,"[1, 2]"\ny,"[1]"\n', SpaceError, "line 3, paper y: expected 2 numbers as before, found 1"),
    ("v.csv", b'id,emb\nx,"[1, nan]"\n', BadVector, "line 2, paper x: .*NaN"),
    ("v.csv", b"id,emb\nx\n", SpaceError, "line 2: expected 2 cells, found 1"),
    ("v.parquet", b"PAR1nonsense", SpaceError, "v.parquet: expected Parquet, found: "),
    ("v.npz", b"nonsense", SpaceError, "v.npz: expected arrays, found a file of another kind"),
    ("v.txt", GOOD, SpaceError, r"expected an index or a file of vectors \(.npz, .npy, .parquet, .*\), found another"),
    ("v", GOOD, SpaceError, "expected an index or a file of vectors"),
]


@pytest.mark.parametrize(("name", "data", "error", "message"), TEXTS)
def test_what_cannot_be_read(tmp_path: Path, name: str, data: bytes, error: type[Exception], message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=message) as caught:
        Space.open(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_arrays_that_cannot_be_read(tmp_path: Path) -> None:
    good = npz(tmp_path / "good.npz", ids=IDS, vectors=ROWS).read_bytes()
    np.save(tmp_path / "objects.npy", np.array([[1.0, None]]), allow_pickle=True)
    objects = (tmp_path / "objects.npy").read_bytes()
    cases: list[tuple[str, bytes | dict[str, Any], type[Exception], str]] = [
        ("v.npz", good[: len(good) // 2], SpaceError, "expected whole arrays, found that the file is cut or broken"),
        ("v.npz", good[:400] + good[500:], SpaceError, "expected whole arrays|expected vectors|cut or broken"),
        ("v.npz", objects, SpaceError, "expected arrays, found pickled objects|expected an archive of arrays"),
        (
            "v.npz",
            {"ids": np.array([None, "x"]), "vectors": ROWS[:2]},
            SpaceError,
            "found pickled objects, which are never",
        ),
        ("v.npz", {"ids": ["x"], "vectors": np.array([[None]])}, SpaceError, "found pickled objects, which are never"),
        ("v.npz", {"ids": [704.001], "vectors": ROWS[:1]}, SpaceError, "as a number the id 0704.0010 loses its zeros"),
        ("v.npz", {"ids": IDS[:2], "vectors": ROWS}, SpaceError, "an id for each of 700 vectors, found 2 ids"),
        ("v.npz", {"ids": IDS[:2], "vectors": ROWS[0]}, SpaceError, r"found the shape \(5,\)"),
        ("v.npz", {"ids": IDS[:2], "vectors": [[1, 0], [0, np.nan]]}, BadVector, "row 2, paper 2301.00001: .*NaN"),
        ("v.npz", {"ids": IDS[:2], "x": ROWS[:2]}, SpaceError, "found x; say which it is with --field embedding=x"),
        ("v.npy", objects, SpaceError, "found pickled objects, which are never loaded"),
        ("v.npy", b"nonsense", SpaceError, "v.npy: expected arrays, found a file of another kind"),
    ]
    (tmp_path / "v.ids.txt").write_text("x")
    for name, content, error, message in cases:
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            npz(tmp_path / name, **content)
        with pytest.raises(error, match=message) as caught:
            Space.open(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_arrays_with_other_ids(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    np.save(path, ROWS)
    with pytest.raises(
        SpaceError, match=r"ids in a file beside it \(v.ids.json, v.ids.txt, v.ids.npy, .*\), found none"
    ):
        Space.open(path)
    (tmp_path / "v_ids.txt").write_text("x\ny\n")
    with pytest.raises(SpaceError, match=r"v.npy: expected an id for each of 700 vectors, found 2 ids"):
        Space.open(path)
    (tmp_path / "v.ids.json").write_text('{"no": 1}')
    with pytest.raises(SpaceError, match=r"v.ids.json: expected a list of ids, found: "):
        Space.open(path)
    (tmp_path / "v.ids.json").write_text(json.dumps([*IDS[:-1], ""]))
    with pytest.raises(SpaceError, match=r"v.npy, row 700: expected an id, found none"):
        Space.open(path)
    (tmp_path / "v.ids.json").write_text(json.dumps(IDS))
    bad = ROWS.copy()
    bad[600] = 0
    np.save(path, bad)
    with pytest.raises(BadVector, match=r"v.npy, row 601, paper 2301.00600: .*found zero"):
        Space.open(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SpaceError, match=r"v.npy: expected whole arrays, found that the file is cut"):
        Space.open(path)


def test_tables_that_cannot_be_read(tmp_path: Path) -> None:
    ragged, empty, null = list(ROWS), list(ROWS), list(ROWS)
    ragged[600], empty[600], null[600] = ROWS[0][:3], [], None
    zero = list(ROWS)
    zero[600] = np.zeros(DIM)
    holes = [[1.0, 2.0]] * N
    holes[600] = [1.0, None]  # type: ignore[list-item]
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        (
            {"id": IDS, "embedding": ragged},
            SpaceError,
            "row 601, paper 2301.00600: expected 5 numbers as before, found 3",
        ),
        (
            {"id": IDS, "embedding": empty},
            SpaceError,
            "row 601, paper 2301.00600: expected 5 numbers as before, found 0",
        ),
        ({"id": IDS, "embedding": null}, SpaceError, "row 601, paper 2301.00600: .*found nothing"),
        ({"id": IDS, "embedding": holes}, SpaceError, "row 601, paper 2301.00600: .*found None among them"),
        ({"id": IDS, "embedding": zero}, BadVector, "row 601, paper 2301.00600: .*found zero"),
        ({"id": [0.5] * N, "embedding": list(ROWS)}, SpaceError, "expected text in 'id', found numbers"),
        ({"id": IDS, "embedding": [1.0] * N}, SpaceError, "lists of numbers in 'embedding', found the type double"),
        ({"id": IDS, "embedding": [b"x"] * N}, SpaceError, "found the type binary"),
        ({"id": IDS, "embedding": ["x"] * N}, SpaceError, "row 1, paper 2301.00000: .*neither a list nor"),
        ({"id": [], "embedding": pa.array([], pa.list_(pa.float32()))}, SpaceError, "expected vectors, found none"),
    ]
    for columns, error, message in cases:
        with pytest.raises(error, match=message):
            Space.open(table(tmp_path / "v.parquet", columns))
    twice = pa.Table.from_arrays([pa.array(IDS), pa.array(IDS), pa.array(list(ROWS))], ["id", "id", "embedding"])
    pq.write_table(twice, tmp_path / "v.parquet")
    with pytest.raises(SpaceError, match=r"v.parquet: expected columns of different names, found 'id' again"):
        Space.open(tmp_path / "v.parquet")
    latin = pa.array([b"M\xfcller"] * N).view(pa.string())
    with pytest.raises(SpaceError, match=r"v.parquet: expected Parquet, found: 'utf-8' codec can't decode"):
        Space.open(table(tmp_path / "v.parquet", {"id": latin, "embedding": list(ROWS)}))
    whole = table(tmp_path / "v.parquet", {"id": IDS, "embedding": list(ROWS)}).read_bytes()
    (tmp_path / "v.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpaceError, match=r"v.parquet: expected Parquet, found: "):
        Space.open(tmp_path / "v.parquet")


def test_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match=r"expected a file of vectors or an index at .*no.npz, found none"):
        Space.open(tmp_path / "no.npz")
    with pytest.raises(StoreNotFound, match=r"expected an index at .*no, found none"):
        Space.open(tmp_path / "no")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(EmbedsearchError, match=r"expected an index at .*folder.npz, found none"):
        Space.open(tmp_path / "folder.npz")


def test_json_lines_take_little_more_memory_than_their_vectors(tmp_path: Path) -> None:
    n, dim = 2000, 1536
    row = np.random.default_rng(0).normal(size=dim).tolist()
    with (tmp_path / "v.jsonl").open("w") as file:
        for i in range(n):
            file.write(json.dumps({"id": str(i), "abstract": "x" * 1000, "embedding": row}) + "\n")
    code = (
        "import resource, sys\nfrom embedsearch.store.space import Space\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\nspace = Space.open(sys.argv[1])\nprint(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "v.jsonl"], capture_output=True, text=True, check=True
    )
    kilobyte = 1 if sys.platform != "darwin" else 1 / 1024
    assert int(done.stdout) * kilobyte * 1024 < 2 * n * dim * 4
