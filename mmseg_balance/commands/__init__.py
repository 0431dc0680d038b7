"""What ``mmseg-balance VERB`` does, a file for each verb.

Each has ``add_arguments(parser)`` and ``run(args)``. Only ``run`` imports PyTorch, MMSegmentation
and the rest of this package: ``--help`` and shell completion shall not wait for them.
"""
