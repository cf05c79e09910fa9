"""Tree ensembles against ONNX Runtime, prepared once (level 2) and at each run (level 0)."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as P
from onnx import helper

import hone

ort = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(2)
FEATURES, DEPTH = 5, 4


def forest(n_trees: int, n_targets: int, prefix: str) -> dict[str, list]:
    """Full binary trees with random thresholds and a vote at each leaf."""
    a: dict[str, list] = {
        f"nodes_{k}": []
        for k in (
            "treeids",
            "nodeids",
            "featureids",
            "values",
            "modes",
            "truenodeids",
            "falsenodeids",
            "missing_value_tracks_true",
        )
    }
    votes: dict[str, list] = {f"{prefix}_{k}": [] for k in ("treeids", "nodeids", "ids", "weights")}
    inner = 2**DEPTH - 1
    for tree in range(n_trees):
        for i in range(2 * inner + 1):
            leaf = i >= inner
            row = (
                tree,
                i,
                int(RNG.integers(FEATURES)),
                float(RNG.normal()),
                "LEAF" if leaf else ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT"][tree % 3],
                0 if leaf else 2 * i + 1,
                0 if leaf else 2 * i + 2,
                int(RNG.integers(2)),
            )
            for key, value in zip(a, row, strict=True):
                a[key].append(value)
            if leaf:
                row = (tree, i, int(RNG.integers(n_targets)), float(RNG.normal()))
                for key, value in zip(votes, row, strict=True):
                    votes[key].append(value)
    return a | votes


def both(node, outputs):
    x = RNG.normal(size=(150, FEATURES)).astype(np.float32)
    x[3, 2] = np.nan
    inputs = [helper.make_tensor_value_info("x", P.FLOAT, ["n", FEATURES])]
    graph = helper.make_graph([node], "g", inputs, outputs)
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    want = ort.InferenceSession(made, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    for level in (0, 2):
        session = hone.InferenceSession(made, hone.SessionOptions(optimize=level), threads=2)
        for rows in (150, 1, 150):
            got = session.run(None, {"x": x[:rows]})
            for g, w in zip(got, want, strict=True):
                np.testing.assert_allclose(g, w[:rows], 1e-4, 1e-5)


@pytest.mark.parametrize("sum_of", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_regressor(sum_of):
    a = forest(7, 2, "target")
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=2,
        aggregate_function=sum_of,
        base_values=[0.5, -0.25],
        **a,
    )
    both(node, [helper.make_tensor_value_info("y", P.FLOAT, ["n", 2])])


@pytest.mark.parametrize("post", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_classifier(post):
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["x"],
        ["label", "p"],
        domain="ai.onnx.ml",
        classlabels_int64s=[4, 7, 9],
        post_transform=post,
        **forest(6, 3, "class"),
    )
    both(
        node,
        [
            helper.make_tensor_value_info("label", P.INT64, ["n"]),
            helper.make_tensor_value_info("p", P.FLOAT, ["n", 3]),
        ],
    )
