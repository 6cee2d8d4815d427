"""The kernels of HANet's parallel convolutions and of their gradients, in Triton's language.

Pixels are those of all images, row by row; features, gradients and results are in channels-last order, so
that the four channels of a group are one load. Each sum is in float32, and in an order that depends on the
shapes alone. A program takes PIXELS pixels and GROUPS groups at a time.
"""

import triton
import triton.language as tl


@triton.jit
def convolve(
    features, weights, biases, results, pixels, height, width, groups,
    PIXELS: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    """One branch of the results, of the weights in (branches, taps, channels out, channels in, groups)."""
    branch = tl.program_id(2)
    dilation = branch + 1
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    row, column = pixel // width % height, pixel % width
    inside = (pixel < pixels)[:, None] & (group < groups)[None, :]
    bias = biases + branch * 2 * groups + 2 * group
    real = group < groups
    sum_0 = tl.zeros([PIXELS, GROUPS], tl.float32) + tl.load(bias, mask=real, other=0.0)[None, :]
    sum_1 = tl.zeros([PIXELS, GROUPS], tl.float32) + tl.load(bias + 1, mask=real, other=0.0)[None, :]
    channel = 4 * group[None, :, None] + tl.arange(0, 4)[None, None, :]
    for tap in tl.static_range(9):
        down, right = (tap // 3 - 1) * dilation, (tap % 3 - 1) * dilation
        exists = (row + down >= 0) & (row + down < height) & (column + right >= 0) & (column + right < width)
        seen = inside & exists[:, None]
        source = (pixel + down * width + right).to(tl.int64)[:, None, None] * (4 * groups) + channel
        four = tl.load(features + source, mask=seen[:, :, None], other=0.0).to(tl.float32)
        even, odd = tl.split(tl.reshape(four, (PIXELS, GROUPS, 2, 2)))
        in_0, in_2 = tl.split(even)
        in_1, in_3 = tl.split(odd)
        weight = weights + (branch * 9 + tap) * 8 * groups + group
        sum_0 += in_0 * tl.load(weight, mask=real, other=0.0)[None, :]
        sum_0 += in_1 * tl.load(weight + groups, mask=real, other=0.0)[None, :]
        sum_0 += in_2 * tl.load(weight + 2 * groups, mask=real, other=0.0)[None, :]
        sum_0 += in_3 * tl.load(weight + 3 * groups, mask=real, other=0.0)[None, :]
        sum_1 += in_0 * tl.load(weight + 4 * groups, mask=real, other=0.0)[None, :]
        sum_1 += in_1 * tl.load(weight + 5 * groups, mask=real, other=0.0)[None, :]
        sum_1 += in_2 * tl.load(weight + 6 * groups, mask=real, other=0.0)[None, :]
        sum_1 += in_3 * tl.load(weight + 7 * groups, mask=real, other=0.0)[None, :]
    target = pixel.to(tl.int64)[:, None, None] * (8 * groups) + branch * 2 * groups
    target += 2 * group[None, :, None] + tl.arange(0, 2)[None, None, :]
    tl.store(results + target, tl.join(sum_0, sum_1).to(results.dtype.element_ty), mask=inside[:, :, None])


@triton.jit
def features_gradient(
    gradients, weights, results, pixels, height, width, groups,
    PIXELS: tl.constexpr, GROUPS: tl.constexpr,
):  # fmt: skip
    """Of all branches, for the gradients of the results."""
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    row, column = pixel // width % height, pixel % width
    real = group < groups
    inside = (pixel < pixels)[:, None] & real[None, :]
    in_0 = tl.zeros([PIXELS, GROUPS], tl.float32)
    in_1 = tl.zeros([PIXELS, GROUPS], tl.float32)
    in_2 = tl.zeros([PIXELS, GROUPS], tl.float32)
    in_3 = tl.zeros([PIXELS, GROUPS], tl.float32)
    channel = 2 * group[None, :, None] + tl.arange(0, 2)[None, None, :]
    for branch in range(4):
        dilation = branch + 1
        for tap in tl.static_range(9):
            down, right = (1 - tap // 3) * dilation, (1 - tap % 3) * dilation
            exists = (
                (row + down >= 0) & (row + down < height) & (column + right >= 0) & (column + right < width)
            )
            seen = inside & exists[:, None]
            source = (pixel + down * width + right).to(tl.int64)[:, None, None] * (8 * groups)
            source += branch * 2 * groups + channel
            both = tl.load(gradients + source, mask=seen[:, :, None], other=0.0).to(tl.float32)
            out_0, out_1 = tl.split(both)
            weight = weights + (branch * 9 + tap) * 8 * groups + group
            in_0 += out_0 * tl.load(weight, mask=real, other=0.0)[None, :]
            in_1 += out_0 * tl.load(weight + groups, mask=real, other=0.0)[None, :]
            in_2 += out_0 * tl.load(weight + 2 * groups, mask=real, other=0.0)[None, :]
            in_3 += out_0 * tl.load(weight + 3 * groups, mask=real, other=0.0)[None, :]
            in_0 += out_1 * tl.load(weight + 4 * groups, mask=real, other=0.0)[None, :]
            in_1 += out_1 * tl.load(weight + 5 * groups, mask=real, other=0.0)[None, :]
            in_2 += out_1 * tl.load(weight + 6 * groups, mask=real, other=0.0)[None, :]
            in_3 += out_1 * tl.load(weight + 7 * groups, mask=real, other=0.0)[None, :]
    four = tl.reshape(tl.join(tl.join(in_0, in_2), tl.join(in_1, in_3)), (PIXELS, GROUPS, 4))
    target = pixel.to(tl.int64)[:, None, None] * (4 * groups) + 4 * group[None, :, None]
    target += tl.arange(0, 4)[None, None, :]
    tl.store(results + target, four.to(results.dtype.element_ty), mask=inside[:, :, None])


@triton.jit
def weights_gradient(
    features, gradients, results, pixels, height, width, groups,
    PIXELS: tl.constexpr, GROUPS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """One tap of one branch, summed over STEPS * PIXELS pixels: (chunks, branches * taps, 10, groups).

    The ten are the eight weights of a group, channels out first, and its two biases.
    """
    place = tl.program_id(0)  # branch * 9 + tap: programs that read the same pixels run at the same time
    branch, tap = place // 9, place % 9
    down, right = (tap // 3 - 1) * (branch + 1), (tap % 3 - 1) * (branch + 1)
    group = tl.program_id(1) * GROUPS + tl.arange(0, GROUPS)
    real = group < groups
    in_channel = 4 * group[None, :, None] + tl.arange(0, 4)[None, None, :]
    out_channel = branch * 2 * groups + 2 * group[None, :, None] + tl.arange(0, 2)[None, None, :]
    sum_00 = tl.zeros([PIXELS, GROUPS], tl.float32)
    sum_01 = tl.zeros([PIXELS, GROUPS], tl.float32)
    sum_02 = tl.zeros([PIXELS, GROUPS], tl.float32)
    sum_03 = tl.zeros([PIXELS, GROUPS], tl.float32)
    sum_10 = tl.zeros([PIXELS, GROUPS], tl.float32)
    sum_11 = tl.zeros([PIXELS, GROUPS], tl.float32)
    sum_12 = tl.zeros([PIXELS, GROUPS], tl.float32)
    sum_13 = tl.zeros([PIXELS, GROUPS], tl.float32)
    bias_0 = tl.zeros([PIXELS, GROUPS], tl.float32)
    bias_1 = tl.zeros([PIXELS, GROUPS], tl.float32)
    for step in range(STEPS):
        pixel = (tl.program_id(2) * STEPS + step) * PIXELS + tl.arange(0, PIXELS)
        row, column = pixel // width % height, pixel % width
        exists = (row + down >= 0) & (row + down < height) & (column + right >= 0) & (column + right < width)
        inside = (pixel < pixels)[:, None] & real[None, :]
        target = pixel.to(tl.int64)[:, None, None] * (8 * groups) + out_channel
        both = tl.load(gradients + target, mask=inside[:, :, None], other=0.0).to(tl.float32)
        out_0, out_1 = tl.split(both)
        source = (pixel + down * width + right).to(tl.int64)[:, None, None] * (4 * groups) + in_channel
        seen = inside & exists[:, None]
        four = tl.load(features + source, mask=seen[:, :, None], other=0.0).to(tl.float32)
        even, odd = tl.split(tl.reshape(four, (PIXELS, GROUPS, 2, 2)))
        in_0, in_2 = tl.split(even)
        in_1, in_3 = tl.split(odd)
        sum_00 += out_0 * in_0
        sum_01 += out_0 * in_1
        sum_02 += out_0 * in_2
        sum_03 += out_0 * in_3
        sum_10 += out_1 * in_0
        sum_11 += out_1 * in_1
        sum_12 += out_1 * in_2
        sum_13 += out_1 * in_3
        bias_0 += out_0
        bias_1 += out_1
    result = results + (tl.program_id(2) * 36 + place) * 10 * groups + group
    tl.store(result, tl.sum(sum_00, axis=0), mask=real)
    tl.store(result + groups, tl.sum(sum_01, axis=0), mask=real)
    tl.store(result + 2 * groups, tl.sum(sum_02, axis=0), mask=real)
    tl.store(result + 3 * groups, tl.sum(sum_03, axis=0), mask=real)
    tl.store(result + 4 * groups, tl.sum(sum_10, axis=0), mask=real)
    tl.store(result + 5 * groups, tl.sum(sum_11, axis=0), mask=real)
    tl.store(result + 6 * groups, tl.sum(sum_12, axis=0), mask=real)
    tl.store(result + 7 * groups, tl.sum(sum_13, axis=0), mask=real)
    tl.store(result + 8 * groups, tl.sum(bias_0, axis=0), mask=real)
    tl.store(result + 9 * groups, tl.sum(bias_1, axis=0), mask=real)
