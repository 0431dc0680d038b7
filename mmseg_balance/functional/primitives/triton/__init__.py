"""The primitives in Triton: logits are read once forward; read once, written once backward.

A program takes one block of an image's pixels. No atomics: sums go to a buffer of each
program's own, so that a result is the same every time. Everything is computed in float32.

An ignored pixel's logits are replaced by 0 as soon as they are read, and its log-sum-exp (lse) is
+inf: its probabilities are 0. A label that is neither a class nor ignored makes the lse NaN, and
with it every value and gradient that the pixel touches.
"""
