"""Kernels in Triton: statistics of the rows of a similarity matrix that never leaves the chip, and their gradients.

With s_ij = ⟨query_i, key_j⟩ and ℓ_ij = scale · s_ij + log_weight_ij, over the pairs that are not excluded:

    lse_i = log Σ_j exp ℓ_ij,    mean_i = Σ_j p_ij s_ij,    square_i = Σ_j p_ij s_ij²,    p_ij = exp(ℓ_ij − lse_i)

Every program owns a block of rows and walks over the other side, so that no two of them write to one place: results do
not depend on the order in which programs run. Exponentials are to base 2.
"""

import triton
import triton.language as tl

LOG2_E: tl.constexpr = tl.constexpr(1.4426950408889634)
INFINITY: tl.constexpr = tl.constexpr(float("inf"))


@triton.jit
def similarities(
    own_ptr,
    other_ptr,
    own,
    other,
    own_rows,
    other_rows,
    dim,
    SHAPE: tl.constexpr,
    STEP: tl.constexpr,
    TF32: tl.constexpr,
):
    """Inner products of a block of rows with a block of the other side."""
    total = tl.zeros(SHAPE, tl.float32)
    for start in range(0, dim, STEP):
        axis = start + tl.arange(0, STEP)
        inside = axis < dim
        left = tl.load(own_ptr + own[:, None] * dim + axis[None, :], (own < own_rows)[:, None] & inside[None, :], 0.0)
        right = tl.load(
            other_ptr + other[:, None] * dim + axis[None, :], (other < other_rows)[:, None] & inside[None, :], 0.0
        )
        total = tl.dot(left, tl.trans(right), total, input_precision="tf32" if TF32 else "ieee")
    return total


@triton.jit
def logits_to_base_2(
    products,
    query,
    key,
    queries,
    keys,
    scale,
    weight_ptr,
    weight_stride,
    exclude_ptr,
    slots: tl.constexpr,
    WEIGHTED: tl.constexpr,
    EXCLUDE: tl.constexpr,
):
    """ℓ · log2 e, −inf outside the matrix and where a pair is excluded; `query` and `key` are along different axes."""
    inside = (query < queries) & (key < keys)
    logits = products * (scale * LOG2_E)
    if WEIGHTED:
        logits += tl.load(weight_ptr + query * weight_stride + key, inside, 0.0) * LOG2_E
    if EXCLUDE == "own":
        inside = inside & (query != key)
    if EXCLUDE == "mask":
        inside = inside & (tl.load(exclude_ptr + query * keys + key, inside, 0) == 0)
    if EXCLUDE == "index":
        for slot in range(slots):
            inside = inside & (tl.load(exclude_ptr + query * slots + slot, query < queries, -1) != key)
    return tl.where(inside, logits, -INFINITY)


@triton.jit
def forward(
    query_ptr,
    key_ptr,
    scale_ptr,
    weight_ptr,
    exclude_ptr,
    lse_ptr,
    mean_ptr,
    square_ptr,
    queries,
    keys,
    dim,
    weight_stride,
    slots: tl.constexpr,
    WEIGHTED: tl.constexpr,
    EXCLUDE: tl.constexpr,
    MEAN: tl.constexpr,
    TF32: tl.constexpr,
    OWN: tl.constexpr,
    OTHER: tl.constexpr,
    STEP: tl.constexpr,
):
    """Statistics of a block of rows, relative to the largest logit of each so far."""
    scale = tl.load(scale_ptr).to(tl.float32)
    own = tl.program_id(0).to(tl.int64) * OWN + tl.arange(0, OWN)
    largest = tl.full((OWN,), -INFINITY, tl.float32)
    total = tl.zeros((OWN,), tl.float32)
    first = tl.zeros((OWN,), tl.float32)
    second = tl.zeros((OWN,), tl.float32)
    for start in range(0, keys, OTHER):
        other = start + tl.arange(0, OTHER).to(tl.int64)
        products = similarities(query_ptr, key_ptr, own, other, queries, keys, dim, (OWN, OTHER), STEP, TF32)
        logits = logits_to_base_2(
            products,
            own[:, None],
            other[None, :],
            queries,
            keys,
            scale,
            weight_ptr,
            weight_stride,
            exclude_ptr,
            slots,
            WEIGHTED,
            EXCLUDE,
        )
        higher = tl.maximum(largest, tl.max(logits, axis=1))
        shift = tl.where(higher == -INFINITY, 0.0, higher)  # of a row that has no key so far
        decay = tl.exp2(largest - shift)
        exponentials = tl.exp2(logits - shift[:, None])
        total = total * decay + tl.sum(exponentials, axis=1)
        if MEAN:
            first = first * decay + tl.sum(exponentials * products, axis=1)
            second = second * decay + tl.sum(exponentials * products * products, axis=1)
        largest = higher
    known = total > 0
    divisor = tl.where(known, total, 1.0)
    result = tl.where(known, (largest + tl.log2(divisor)) / LOG2_E, -INFINITY)
    tl.store(lse_ptr + own, result, own < queries)
    if MEAN:
        tl.store(mean_ptr + own, first / divisor, own < queries)
        tl.store(square_ptr + own, second / divisor, own < queries)


@triton.jit
def slopes(
    products, logits, row, rows, lse_ptr, mean_ptr, gradient_ptr, scale, MEAN: tl.constexpr, DETACHED: tl.constexpr
):
    """The gradient of each similarity of a tile, by the statistics of the rows that are `row`."""
    lse = tl.load(lse_ptr + row, row < rows, INFINITY)
    normaliser = tl.where(lse == -INFINITY, INFINITY, lse * LOG2_E)  # an empty row's shares are 0
    share = tl.exp2(logits - normaliser) * tl.load(gradient_ptr + row, row < rows, 0.0)
    if MEAN:
        if not DETACHED:
            share = share * (1 + scale * (products - tl.load(mean_ptr + row, row < rows, 0.0)))
    else:
        share = share * scale
    return share


@triton.jit
def backward(
    own_ptr,
    other_ptr,
    scale_ptr,
    weight_ptr,
    exclude_ptr,
    lse_ptr,
    mean_ptr,
    gradient_ptr,
    result_ptr,
    own_rows,
    other_rows,
    dim,
    weight_stride,
    slots: tl.constexpr,
    WEIGHTED: tl.constexpr,
    EXCLUDE: tl.constexpr,
    MEAN: tl.constexpr,
    DETACHED: tl.constexpr,
    TF32: tl.constexpr,
    AS_QUERY: tl.constexpr,
    AS_KEY: tl.constexpr,
    CHUNK: tl.constexpr,
    OWN: tl.constexpr,
    OTHER: tl.constexpr,
    STEP: tl.constexpr,
):
    """A chunk of the gradient of a block of rows, in the part of queries, of keys, or of both."""
    scale = tl.load(scale_ptr).to(tl.float32)
    own = tl.program_id(0).to(tl.int64) * OWN + tl.arange(0, OWN)
    axis = tl.program_id(1) * CHUNK + tl.arange(0, CHUNK)
    total = tl.zeros((OWN, CHUNK), tl.float32)
    for start in range(0, other_rows, OTHER):
        other = start + tl.arange(0, OTHER).to(tl.int64)
        products = similarities(own_ptr, other_ptr, own, other, own_rows, other_rows, dim, (OWN, OTHER), STEP, TF32)
        slope = tl.zeros((OWN, OTHER), tl.float32)
        if AS_QUERY:
            logits = logits_to_base_2(
                products,
                own[:, None],
                other[None, :],
                own_rows,
                other_rows,
                scale,
                weight_ptr,
                weight_stride,
                exclude_ptr,
                slots,
                WEIGHTED,
                EXCLUDE,
            )
            slope += slopes(
                products, logits, own[:, None], own_rows, lse_ptr, mean_ptr, gradient_ptr, scale, MEAN, DETACHED
            )
        if AS_KEY:
            logits = logits_to_base_2(
                products,
                other[None, :],
                own[:, None],
                other_rows,
                own_rows,
                scale,
                weight_ptr,
                weight_stride,
                exclude_ptr,
                slots,
                WEIGHTED,
                EXCLUDE,
            )
            slope += slopes(
                products, logits, other[None, :], other_rows, lse_ptr, mean_ptr, gradient_ptr, scale, MEAN, DETACHED
            )
        inside = (other < other_rows)[:, None] & (axis < dim)[None, :]
        rows = tl.load(other_ptr + other[:, None] * dim + axis[None, :], inside, 0.0)
        total = tl.dot(slope.to(rows.dtype), rows, total, input_precision="tf32" if TF32 else "ieee")
    tl.store(result_ptr + own[:, None] * dim + axis[None, :], total, (own < own_rows)[:, None] & (axis < dim)[None, :])
