#!/bin/sh
# make.sh COMMIT NAME: let the release at COMMIT write tests/stores/NAME/store, and note beside it what it answers.
# It needs minilm. Nothing of the working tree runs but tests/released.py, which asks.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
commit=$1 name=$2
tree=/tmp/embedsearch-release-$commit
store=$here/$name/store
sample=embedsearch/corpus/sample.jsonl
build() { python -m embedsearch build-index "$sample" --limit 12 --index "$store" --device cpu --dtype float32 "$@"; }

git -C "$here" worktree add --detach "$tree" "$commit"
trap 'git -C "$here" worktree remove --force "$tree"' EXIT
rm -rf "$here/${name:?}"
mkdir -p "$here/$name"
cd "$tree"
export PYTHONPATH="$tree" HF_HUB_OFFLINE=1

case $name in
search)
    build --ann exact
    build --ann flat --transform center --overwrite ;;
spaces)
    python -m embedsearch embed "$sample" --limit 12 --device cpu --dtype float32 --out v.npz
    python -c "import numpy as np; v = np.load('v.npz'); np.savez('v.npz', ids=v['ids'], vectors=v['vectors'])"
    build --vectors v.npz --ann exact ;;
server)
    build --template '{title}. {abstract}' --ann exact --dtype-stored float32 ;;
scale)
    build --ann ivf --memory 1M --recall 0.9 --transform whiten:4 ;;
language)
    build
    python -c "import sys, embedsearch.store.weight as w; w.save_hybrid_weight(sys.argv[1], 0.75)" "$store" ;;
unfinished)
    build --shards 2/2 --drop drop ;;
*)
    echo "expected the name of a store that make.sh knows, found $name" >&2
    exit 2 ;;
esac
find "$store" -name '.lock*' -delete
python "$here/../released.py" "$store" > "$here/$name/expected.json"
find "$store" -name '.tantivy-*.lock' -delete
