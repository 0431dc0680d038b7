"""Which loss for my data? Runs a matrix of losses, samplers and seeds, and reports on it.

``plan`` names the runs, ``merging`` makes their configs, ``execution`` trains and tests them,
``collection`` reads what they left into one dictionary (``results.json``), and ``summary``,
``tables``, ``strips``, ``figures`` and ``report`` turn that dictionary into files.
"""

from mmseg_balance.experiments.plan import Run, plan_runs
from mmseg_balance.experiments.results import load_results, save_results

__all__ = ['Run', 'load_results', 'plan_runs', 'save_results']
