"""metafile.yml: the recipes that were trained, in the form of OpenMMLab's model zoo."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from tools.evidence.store import FULL, Study, of_kind

HEAD = """\
# Made by `make results` from docs/results: the recipes that were trained, with scores on test.
# No weights are published; the checkpoints' hashes say which training a score is of.
"""
COLLECTION = {'Name': 'mmseg_balance', 'License': 'Apache License 2.0', 'README': 'README.md'}
METRICS = ('mIoU', 'mRecall', 'acc', 'cal')


def metafile(studies: Sequence[Study]) -> str:
    """A model for each recipe and study; scores in %, mean over seeds."""
    models = [
        _model(study, method)
        for study in of_kind(studies, FULL)
        for method in study.methods
        if any(run.get('recipe') for run in _runs(study, method))
    ]
    content = {'Collections': [COLLECTION], 'Models': models}
    return HEAD + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)


def _runs(study: Study, method: str) -> list[dict]:
    runs = study.content['runs']
    return [run for run in runs if (run['method'], run['split']) == (method, 'test')]


def _model(study: Study, method: str) -> dict:
    runs, setting = _runs(study, method), study.setting
    recipe = runs[0]['recipe']
    cells = {score: study.cell(method, score) for score in METRICS}
    return {
        'Name': Path(recipe).stem,
        'In Collection': COLLECTION['Name'],
        'Config': recipe,
        'Metadata': {
            'Training Data': setting['data'],
            'Length': setting['length'],
            'Seeds': [run['seed'] for run in runs],
            'Checkpoints sha256': [run['sha256'][:8] for run in runs],
        },
        'Results': [
            {
                'Task': 'Semantic Segmentation',
                'Dataset': f'{setting["data"]}, {setting["test_images"]} test images',
                'Metrics': {k: round(c.mean, 2) for k, c in cells.items() if c.mean is not None},
            }
        ],
        'Training Log': f'docs/results/{study.name}.json',
    }
