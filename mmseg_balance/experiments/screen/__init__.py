"""Which loss for my data, from one ordinary training: only decode heads are trained on.

``plan`` names the heads and their settings, ``frozen`` loads the checkpoint, ``passes`` groups
heads that see the same batches and starts a ``worker`` process for each group. There ``bank``
trains all heads of the group on features that are computed once, ``head_hooks`` lets each head have
its own hooks, and ``evaluation`` scores them on dev and test. ``command`` is the whole of it.
"""
