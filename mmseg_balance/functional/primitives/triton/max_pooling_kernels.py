"""A pass of the search for the threshold of loss max-pooling, and the weights it leads to."""

import triton
import triton.language as tl

LARGEST_BITS = tl.constexpr((127 + 96) << 23)  # 2^96: a larger loss counts as that
NORMAL_BITS = tl.constexpr(1 << 23)  # the smallest normal float
ROUNDING = tl.constexpr(256)  # of a tangent's root, in units of the last bit
LOWEST_LOG = tl.constexpr(-1e4)  # below the log-ratio of any two floats: a threshold of zero
LEAST_POWER = tl.constexpr(2.0**-126)  # of a positive loss: too large a sum only loosens a bound


@triton.jit(do_not_specialize=['turn'])  # else 0, 1 and the others are compiled each
def search_kernel(
    losses,
    inside,
    num_valid,
    interval,
    log_alpha,
    counts,
    powers,
    num_pixels,
    programs,
    ratio,
    exponent,
    turn,
    FIRST: tl.constexpr,
    HARDEST: tl.constexpr,
    CANDIDATES: tl.constexpr,
    BLOCK: tl.constexpr,
    PROGRAMS: tl.constexpr,
):
    """One pass: how many losses lie between each two candidates, and their power sums.

    A loss is compared with the candidate above it alone, so a pixel takes one power, not one for
    each candidate; :func:`narrowed` adds the sums up.
    """
    program, pool = tl.program_id(0), tl.program_id(1)
    pools = tl.num_programs(1)
    valid = tl.load(num_valid + pool).to(tl.int32)
    low, high, above_low, above_high, log_root = narrowed(
        interval,
        log_alpha,
        counts,
        powers,
        pool,
        pools,
        programs,
        valid,
        ratio,
        exponent,
        turn,
        FIRST,
        HARDEST,
        CANDIDATES,
        PROGRAMS,
    )
    if program == 0:
        at = interval + (turn * pools + pool) * 4
        tl.store(at, low)
        tl.store(at + 1, high)
        tl.store(at + 2, above_low)
        tl.store(at + 3, above_high)
        tl.store(log_alpha + turn * pools + pool, log_root)

    step = step_of(low, high, CANDIDATES)
    count = tl.zeros((CANDIDATES, BLOCK), tl.int32)
    power_sum = tl.zeros((CANDIDATES, BLOCK), tl.float32)
    first = pool.to(tl.int64) * num_pixels
    for start in range(program * BLOCK, num_pixels, programs * BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        loss, counted = load_losses(losses, inside, first, pixel, num_pixels, HARDEST)
        bits = as_bits(loss)
        place = tl.maximum(bits - low - 1, 0) // step
        place = tl.where(counted & (bits <= high), place, CANDIDATES)
        here = place[None, :] == tl.arange(0, CANDIDATES)[:, None]
        count += here.to(tl.int32)
        if not HARDEST:
            above = as_float(tl.maximum(tl.minimum(low + (1 + place) * step, high), NORMAL_BITS))
            power = tl.maximum(tl.exp2(exponent * log_ratio(loss, above)), LEAST_POWER)
            power_sum += tl.where(here & (loss > 0)[None, :], power[None, :], 0.0)
    at = ((turn * pools + pool) * programs + program) * CANDIDATES + tl.arange(0, CANDIDATES)
    tl.store(counts + at, tl.sum(count, 1))
    if not HARDEST:
        tl.store(powers + at, tl.sum(power_sum, 1))


@triton.jit
def weights_kernel(
    losses,
    inside,
    num_valid,
    interval,
    log_alpha,
    counts,
    powers,
    num_pixels,
    programs,
    weights,
    pools,
    ratio,
    exponent,
    inverse_p,
    turn,
    POOLS: tl.constexpr,
    HARDEST: tl.constexpr,
    CANDIDATES: tl.constexpr,
    BLOCK: tl.constexpr,
    PROGRAMS: tl.constexpr,
):
    """Theorem 1 (2 where p = 1) with the threshold that the last pass has found."""
    program, pool = tl.program_id(0), tl.program_id(1)
    valid = tl.load(num_valid + pool).to(tl.int32)
    _, high, above_low, above_high, log_root = narrowed(
        interval,
        log_alpha,
        counts,
        powers,
        pool,
        pools,
        programs,
        valid,
        ratio,
        exponent,
        turn,
        False,
        HARDEST,
        CANDIDATES,
        PROGRAMS,
    )
    rows = tl.arange(0, POOLS)
    filled = tl.load(num_valid + rows, mask=rows < pools, other=0) > 0
    share = 1.0 / tl.maximum(tl.sum(filled.to(tl.int32), 0), 1).to(tl.float32)
    number = tl.maximum(valid, 1).to(tl.float32)
    supported = tl.maximum(ratio * number, 1.0)
    if HARDEST:
        left = supported - above_high.to(tl.float32)
        cap = share / supported
        level = left / tl.maximum(above_low - above_high, 1).to(tl.float32)
    else:
        # tau = n^(1/p - 1) m^(-1/p)
        cap = share / number * tl.exp2(inverse_p * tl.log2(number / supported))
        level = 0.0
    base = base_of(high)
    first = pool.to(tl.int64) * num_pixels
    for start in range(program * BLOCK, num_pixels, programs * BLOCK):
        pixel = start + tl.arange(0, BLOCK)
        loss, counted = load_losses(losses, inside, first, pixel, num_pixels, HARDEST)
        if HARDEST:
            bits = as_bits(loss)
            weight = tl.where(bits > high, 1.0, tl.where(bits == high, level, 0.0))
        else:
            height = tl.minimum(log_ratio(loss, base) - log_root, 0.0)
            weight = tl.where(loss > 0, tl.exp2((exponent - 1) * height), 0.0)
        tl.store(
            weights + first + pixel, tl.where(counted, cap * weight, 0.0), mask=pixel < num_pixels
        )


@triton.jit
def narrowed(
    interval,
    log_alpha,
    counts,
    powers,
    pool,
    pools,
    programs,
    valid,
    ratio,
    exponent,
    turn,
    FIRST: tl.constexpr,
    HARDEST: tl.constexpr,
    CANDIDATES: tl.constexpr,
    PROGRAMS: tl.constexpr,
):
    r"""The interval after ``turn`` passes, and log2(alpha / base) for its upper end as base.

    ``low`` is below the threshold and ``high`` is not; both are bits, with the number of losses
    above each. p = 1: the threshold is the least float with fewer than m losses above it. Else: in
    :math:`\alpha^q` the two sides of the equation for alpha differ by a concave function, so that
    a tangent of negative slope has its root at or right of the wanted one; the least root is the
    bound. (The slope is minus ``slack``.)
    """
    if FIRST:
        low, high, log_root = -1, LARGEST_BITS, 0.0
        above_low, above_high = valid, 0
    else:
        before = (turn - 1) * pools + pool
        low, high = tl.load(interval + before * 4), tl.load(interval + before * 4 + 1)
        above_low = tl.load(interval + before * 4 + 2)
        above_high = tl.load(interval + before * 4 + 3)
        log_root = tl.load(log_alpha + before)
        candidate = candidates_of(low, high, HARDEST, CANDIDATES)
        at, known = partial_sums_at(before, programs, CANDIDATES, PROGRAMS)
        number = tl.sum(tl.load(counts + at, mask=known, other=0), 0)
        place = tl.arange(0, CANDIDATES)
        below_too = place[:, None] <= place[None, :]
        above = valid - tl.sum(tl.where(below_too, number[:, None], 0), 0)
        supported = tl.maximum(ratio * tl.maximum(valid, 1).to(tl.float32), 1.0)
        slack = supported - above.to(tl.float32)
        base = base_of(high)
        if HARDEST:
            reached = tl.ceil(supported) > above.to(tl.float32)
        else:
            offset = log_ratio(as_float(candidate), base)
            power = tl.sum(tl.load(powers + at, mask=known, other=0.0), 0)[:, None]
            rebased = power * tl.exp2(exponent * (offset[:, None] - offset[None, :]))
            rebased = tl.where(power > 0, tl.maximum(rebased, LEAST_POWER), 0.0)
            below = tl.sum(tl.where(below_too, rebased, 0.0), 0)
            log_share = tl.log2(below / tl.where(slack > 0, slack, 1.0))
            tangent = tl.where(slack > 0, offset + log_share / exponent, float('inf'))
            reached = tangent <= offset
            least = tl.min(tangent, 0)
            # Not the least of all passes: the earlier ones, far from alpha, have fewer digits.
            log_root = tl.where(least < float('inf'), least, log_root)
        above_high = tl.maximum(above_high, tl.max(tl.where(reached, above, 0), 0))
        above_low = tl.minimum(above_low, tl.min(tl.where(reached, valid, above), 0))
        high = tl.minimum(high, tl.min(tl.where(reached, candidate, high), 0))
        low = tl.maximum(low, tl.max(tl.where(reached, low, candidate), 0))
        if not HARDEST:
            # In halves: 2^-222 is no float32, but times a base of 2^96 it is.
            half = tl.exp2(tl.minimum(tl.maximum(log_root, LOWEST_LOG), 0.0) / 2)
            bound = as_bits(base * half * half)
            high = tl.maximum(tl.minimum(high, bound + ROUNDING), low + 1)
            log_root = tl.maximum(log_root - log_ratio(base_of(high), base), LOWEST_LOG)
    return low, high, above_low, above_high, log_root


@triton.jit
def candidates_of(low, high, HARDEST: tl.constexpr, CANDIDATES: tl.constexpr):
    """Bits that cut the interval evenly; of normal numbers where logarithms are taken."""
    step = step_of(low, high, CANDIDATES)
    candidate = tl.minimum(low + (1 + tl.arange(0, CANDIDATES)) * step, high)
    if not HARDEST:
        candidate = tl.maximum(candidate, NORMAL_BITS)
    return candidate


@triton.jit
def step_of(low, high, CANDIDATES: tl.constexpr):
    """Bits between two candidates."""
    return (high - low + CANDIDATES) // (CANDIDATES + 1)


@triton.jit
def partial_sums_at(before, programs, CANDIDATES: tl.constexpr, PROGRAMS: tl.constexpr):
    """Where the programs' sums of a pass lie, programs by candidates, and which of them exist."""
    program = tl.arange(0, PROGRAMS)
    at = (before * programs + program)[:, None] * CANDIDATES + tl.arange(0, CANDIDATES)[None, :]
    return at, (program < programs)[:, None] & (tl.arange(0, CANDIDATES) >= 0)[None, :]


@triton.jit
def load_losses(losses, inside, first, pixel, num_pixels, HARDEST: tl.constexpr):
    """Losses between 0 and 2^96, denormal ones as 0 where logarithms are taken; which count."""
    mask = pixel < num_pixels
    counted = tl.load(inside + first + pixel, mask=mask, other=0) != 0
    loss = tl.load(losses + first + pixel, mask=mask & counted, other=0.0)
    loss = tl.minimum(tl.maximum(loss, 0.0), as_float(LARGEST_BITS))
    if not HARDEST:
        loss = tl.where(loss < as_float(NORMAL_BITS), 0.0, loss)
    return loss, counted


@triton.jit
def base_of(high):
    """The float that losses are compared with: the upper end, or the smallest normal number."""
    return as_float(tl.maximum(high, NORMAL_BITS))


@triton.jit
def as_float(bits):
    """The float of these bits."""
    return tl.cast(bits, tl.int32).to(tl.float32, bitcast=True)


@triton.jit
def as_bits(value):
    """The bits of this float."""
    return value.to(tl.int32, bitcast=True)


@triton.jit
def log_ratio(value, base):
    """log2(value / base): exact where the two are near, and also where the ratio underflows."""
    ratio = value / base
    return tl.where(ratio < as_float(NORMAL_BITS), tl.log2(value) - tl.log2(base), tl.log2(ratio))
