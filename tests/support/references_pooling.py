"""Slow oracles in float64, numpy and plain loops; they import nothing from mmseg_balance."""

import math

import numpy as np


def algorithm_1(losses, p, m):
    """Weights of one pool by Algorithm 1 and Theorem 1 (Rota Bulo et al.) over a sorted list."""
    losses = np.asarray(losses, np.float64)
    n = len(losses)
    if p == math.inf:
        return np.full(n, 1 / n)
    order = np.argsort(losses, kind='stable')
    if p == 1:
        weights = np.zeros(n)
        whole = math.floor(m)
        weights[order[n - whole :]] = 1 / m
        if whole < n:
            weights[order[n - whole - 1]] = (m - whole) / m
        return weights

    q = p / (p - 1)
    gamma = n ** (-1 / q)
    tau = gamma * m ** (-1 / p)
    # Sums of q-th powers as logarithms: q is 2001 at p = 1.0005, far beyond the range of a float64.
    with np.errstate(divide='ignore'):
        log_powers = q * np.log(losses[order])
    log_total, room, first = -math.inf, m - n, n
    for i, log_power in enumerate(log_powers):
        following = np.logaddexp(log_total, log_power)
        # eta of equation 9, with a tolerance for ties that only rounding makes positive
        if room + 1 > 0 and math.log(room + 1) + log_power > following + 1e-11:
            first = i
            break
        log_total, room = following, room + 1
    weights = np.zeros(n)
    weights[order[first:]] = tau
    if log_total > -math.inf:
        log_alpha = (log_total - math.log(room)) / q
        with np.errstate(divide='ignore'):
            ratio = np.exp(np.log(losses[order[:first]]) - log_alpha)
        weights[order[:first]] = tau * ratio ** (q - 1)
    return weights


def dual_value(losses, p, m):
    """The optimum by duality (equations 6 and 7): the least of g over lambda = (loss - alpha)+."""
    losses = np.asarray(losses, np.float64)
    n, q = len(losses), p / (p - 1)
    gamma = n ** (-1 / q)
    tau = gamma * m ** (-1 / p)

    def g(alpha):
        kept = np.minimum(losses, alpha)
        scale = max(kept.max(), 1e-300)
        norm = scale * ((kept / scale) ** q).sum() ** (1 / q)
        return tau * (losses - kept).sum() + gamma * norm

    low, high = 0.0, losses.max()  # g is convex in lambda, so unimodal along this path
    for _ in range(200):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if g(left) <= g(right):
            high = right
        else:
            low = left
    return g((low + high) / 2)


def max_pool_weights(losses, valid, p, ratio, pool):
    """Weights of a batch ``(N, H, W)``; the mean over the images that have a valid pixel."""
    weights = np.zeros(losses.shape)
    pools = [slice(i, i + 1) for i in range(len(losses))] if pool == 'image' else [slice(None)]
    pools = [each for each in pools if valid[each].any()]
    for each in pools:
        inside = valid[each]
        m = max(1.0, ratio * inside.sum())
        weights[each][inside] = algorithm_1(losses[each][inside], p, m) / len(pools)
    return weights


def jaccard_loss(missed, wrong):
    """Jaccard loss (Berman et al., equation 5) of a foreground mask and a set of wrong pixels."""
    predicted = missed ^ wrong
    union = (missed | predicted).sum()
    return 1 - (missed & predicted).sum() / union if union else 0.0


def lovasz_extension(errors, foreground):
    """Equation 9 of Berman et al.: the set grows by the largest error, one pixel at a time."""
    wrong = np.zeros(len(errors), bool)
    total, before = 0.0, 0.0
    for pixel in np.argsort(-errors, kind='stable'):
        wrong[pixel] = True
        after = jaccard_loss(foreground, wrong)
        total += errors[pixel] * (after - before)
        before = after
    return total


def lovasz_softmax(logits, labels, ignore_index=255, over='batch', classes='present', weight=None):
    """Lovasz-softmax of ``(N, C, H, W)`` logits, one class and one pixel after the other."""
    logits = np.asarray(logits, np.float64)
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], 1)
    probs = np.exp(logits - logits.max(1, keepdims=True))
    probs /= probs.sum(1, keepdims=True)
    num_classes = logits.shape[1]
    groups = [[i] for i in range(len(logits))] if over == 'image' else [range(len(logits))]
    values = []
    for group in groups:
        inside = np.concatenate([labels[i].ravel() for i in group])
        scores = np.concatenate([probs[i].reshape(num_classes, -1) for i in group], 1)
        scores, inside = scores[:, inside != ignore_index], inside[inside != ignore_index]
        if not len(inside):
            continue
        losses, weights = [], []
        for c in range(num_classes):
            foreground = inside == c
            if classes == 'present' and not foreground.any():
                continue
            losses.append(lovasz_extension(np.abs(foreground - scores[c]), foreground))
            weights.append(1.0 if weight is None else weight[c])
        if sum(weights) > 0:
            values.append(np.dot(losses, weights) / sum(weights))
    return float(np.mean(values)) if values else 0.0
