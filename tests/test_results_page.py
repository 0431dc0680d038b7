"""What stands in README and docs/results*.md is made from docs/results/*.json, and is up to date."""

import doctest
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_balance.datasets.street_scenes import write_street_scenes
from mmseg_balance.experiments.differences import differences, holm
from mmseg_balance.functional.groups import make_groups
from mmseg_balance.functional.per_image import per_image_scores
from mmseg_balance.metrics.confusion_file import load_confusions
from tests.support.comparison_samples import write_results, write_run
from tools.evidence import (
    advice,
    claims,
    details,
    pages,
    publishing,
    ranking,
    sections,
    store,
    tables,
    zoo,
)
from tools.evidence.figures import INK_OF, SUMMARY_FILE, draw, draw_summary, names_of, summary
from tools.evidence.store import Study

METHODS = ('ce', 'recall', 'wce', 'lmp')
GAIN = {'ce': 0.0, 'recall': 0.02, 'wce': -0.03, 'lmp': 0.0}


def study(name='t', kind='train', gain=GAIN, seeds=5, config='configs/c.py', title=''):
    """Runs whose scores differ from the baseline's by a known amount, and a little by seed."""
    runs, rows = [], []
    for split in ('dev', 'test'):
        for method in METHODS:
            for seed in range(seeds):
                of_seed = 0.001 * (seed - seeds // 2)
                scores = dict.fromkeys(store.SCORES, 0.5 + gain[method] + of_seed)
                run = {
                    'method': method,
                    'seed': seed,
                    'split': split,
                    'scores': scores,
                    'per_class': {'IoU': [0.5, None]},
                    'recipe': f'configs/deeplabv3_{method}_camvid.py',
                    'sha256': f'abcdef{seed}' + 57 * '0',
                    'seconds': {},
                }
                if split == 'test':
                    run['curves'] = {'mIoU': [[10, 30 + seed], [20, 40 + seed]]}
                runs.append(run)
            rows += (
                []
                if method == 'ce'
                else [row(method, s, split, gain[method], seeds) for s in store.SCORES]
            )
    setting = dict(config=config, length='10 iterations', data='CamVid', train_images=4,
                   dev_images=2, test_images=3, groups='images')  # fmt: skip
    environment = dict(machine='a CPU', cores=2, date='2026-01-01', torch='2.13')
    content = dict(format=2, verb=kind, title=title or name, command='c', setting=setting,
                   environment=environment, classes=['a', 'b'], runs=runs, differences=rows)  # fmt: skip
    return Study(name, content)


def row(method, score, split, mean, seeds):
    significant = abs(mean) > 0.01
    known = seeds > 1
    return dict(
        method=method,
        baseline='ce',
        score=score,
        split=split,
        mean=mean,
        low=mean - 0.01 if known else None,
        high=mean + 0.01 if known else None,
        p_holm=(0.001 if significant else 0.4) if known else None,
    )


def test_pages_are_what_make_results_makes(repository):
    for path, text in pages.made(repository):
        assert path.read_text(encoding='utf-8') == text, f'{path}: run make results'


def test_figures_of_every_study_are_there(repository):
    for found in store.load_studies(repository / 'docs' / 'results'):
        for name in names_of(found):
            assert (repository / 'docs' / 'images' / name).is_file(), 'run make results'
    assert (repository / 'docs' / 'images' / SUMMARY_FILE).is_file(), 'run make results'


def test_every_number_of_readme_s_evidence_is_measured_or_a_paper_s(repository):
    texts = [(repository / page).read_text(encoding='utf-8') for page in pages.PAGES]
    known = pages.numbers_in_blocks(texts)
    assert pages.numbers_of_nothing(pages.evidence_of(texts[0]), known) == []
    assert pages.numbers_of_nothing('Recall loss gains 73.25 points.', known) == ['73.25']


def test_an_edited_number_is_found(repository):
    _path, text = next(pages.made(repository))
    studies = store.load_studies(repository / 'docs' / 'results')
    edited = text.replace(advice.advice(studies)[:40], '99.9 points', 1)
    assert edited != text
    assert pages.with_blocks(edited, studies) == text


def test_a_block_without_end_or_name_is_refused():
    with pytest.raises(ValueError, match='no block .tables.'):
        pages.with_blocks('<!-- results: tables -->\n<!-- /results -->', [])
    with pytest.raises(ValueError, match='has no <!-- /results -->'):
        pages.with_blocks('<!-- results: headline -->\n', [])


def test_kept_scores_follow_from_the_kept_confusion_matrices(repository):
    folder = repository / 'docs' / 'results'
    for found in store.load_studies(folder):
        for run in found.content['runs']:
            if not run.get('confusion', '').startswith(publishing.CONFUSIONS):
                continue
            confusions, _ = load_confusions(folder / run['confusion'])
            scores = per_image_scores(confusions, found.content['groups'])
            for name, value in scores.items():
                assert run['scores'][name] == pytest.approx(value, abs=1e-5), run['confusion']


def test_the_final_check_s_scenes_are_those_of_its_seed(repository, tmp_path):
    kept = repository / 'docs' / 'results' / 'confusions' / 'street_scenes_977'
    confusions, names = load_confusions(kept / 'ce_seed0_test.npz')
    write_street_scenes(tmp_path / 'scenes', 977, {'test': 3}, num_workers=1)
    for confusion, name in zip(confusions[:3], names[:3], strict=True):
        label = np.asarray(Image.open(tmp_path / 'scenes' / 'labels' / 'test' / Path(name).name))
        assert np.array_equal(np.bincount(label.ravel(), minlength=10), confusion.sum(-1))


def test_kept_differences_follow_from_the_kept_confusion_matrices(repository):
    """Of the first two methods of every study; the draws are the same, so the numbers are."""
    folder = repository / 'docs' / 'results'
    for found in store.load_studies(folder):
        pair = found.methods[:2]
        runs, names = {}, []
        for run in found.content['runs']:
            kept = run.get('confusion', '').startswith(publishing.CONFUSIONS)
            if kept and run['method'] in pair and run['split'] == 'test':
                confusions, names = load_confusions(folder / run['confusion'])
                runs.setdefault(run['method'], {})[run['seed']] = confusions
        if len(runs) < 2:
            continue
        groups = make_groups(names, found.setting['groups'])
        for made in differences(runs, pair[0], groups, class_groups=found.content['groups']):
            kept = found.row(made['method'], made['score'])
            for key in ('mean', 'low', 'high'):
                value = np.nan if kept[key] is None else kept[key]
                assert value == pytest.approx(made[key], abs=1e-5, nan_ok=True)


def test_advice_has_only_what_is_significant_on_test():
    text = advice.advice([study()])
    line = next(line for line in text.splitlines() if line.startswith('| t (3 methods) |'))
    assert line.split(' | ')[1:] == 2 * ['recall loss +2.0 [+1.0, +3.0]'] + [
        'recall loss +2.0 [+1.0, +3.0] |'
    ]


def test_advice_rests_on_full_trainings_and_names_what_no_screening_saw_help():
    heads = study('s', 'screen', title='T1 on A, screening')
    text = advice.advice([study(), heads])
    assert not [line for line in text.splitlines() if line.startswith('| T1 on A, screening')]
    assert 'not shown to help in any of these scores: weighted cross entropy' in text
    assert '| T1 on A, screening (3 methods) |' in advice.advice_of_screening([study(), heads])


def test_each_command_can_be_pasted():
    two = study()
    two.content['command'] = (
        'python -m tools.collect_results a and python -m tools.collect_results b'
    )
    assert '`python -m tools.collect_results a` and `python -m tools.collect_results b` at' in (
        details.details([two])
    )


def test_what_never_helped_is_named_when_it_was_judged_twice():
    said = 'not shown to help in any of these scores: weighted cross entropy, loss max-pooling.'
    assert said in advice.advice([study(), study('u')])
    assert 'not shown to help' not in advice.advice([study()])
    helping = study('u', gain={**GAIN, 'lmp': 0.02})
    assert said.replace(', loss max-pooling', '') in advice.advice([study(), helping])


def test_a_difference_below_half_a_point_is_no_advice():
    text = advice.advice([study(gain={**GAIN, 'recall': 0.004})])
    assert 'recall loss +0.4' not in text


def test_advice_is_ordered_by_dev():
    lucky = study(gain={**GAIN, 'recall': 0.03, 'wce': 0.02})
    for found in lucky.content['differences']:
        if (found['method'], found['split']) == ('wce', 'dev'):
            found['mean'] = 0.05
    assert [row['method'] for row in advice.ranked(lucky, 'mIoU')] == ['wce', 'recall']


def test_one_seed_is_neither_advice_nor_headline():
    for section in (advice.advice, sections.headline):
        assert section([study(seeds=1)]) == sections.NOTHING


def test_advice_names_what_a_method_costs():
    mixed = study()
    for found in mixed.content['differences']:
        if (found['method'], found['score']) == ('recall', 'acc'):
            found.update(mean=-0.015, low=-0.02, high=-0.01)
    text = advice.advice([mixed])
    assert '| recall loss +2.0 [+1.0, +3.0]; costs accuracy −1.5 |' in text


def test_data_sets_that_disagree_are_named():
    other = study('u', gain={**GAIN, 'recall': -0.02})
    text = advice.advice([study(), other])
    assert 'Data sets disagree:\n\n- Recall loss, mIoU: better on t; worse on u.' in text


def test_a_place_of_two_studies_is_named_once():
    losses = study('u', 'screen', title='T1 on X, screening')
    samplers = study('v', 'screen', title='T1 on X, samplers and decisions, screening')
    other = study('w', 'screen', gain={**GAIN, 'recall': -0.02}, title='T1 on Y, screening')
    text = advice.advice_of_screening([losses, samplers, other])
    assert '- Recall loss, mIoU: better on T1 on X; worse on T1 on Y.' in text


def test_a_head_alone_and_a_full_training_do_not_disagree():
    heads = study('u', 'screen', gain={**GAIN, 'recall': -0.02})
    assert 'Data sets disagree' not in advice.advice([study(), heads])
    assert 'Data sets disagree' not in advice.advice_of_screening([study(), heads])


def test_what_is_not_significant_is_not_bold():
    text = sections.trainings([study()])
    assert '52.0 (**+2.0 [+1.0, +3.0]**)' in text
    assert '(0.0 [−1.0, +1.0])' in text


def test_another_split_is_a_column_of_its_own():
    more = study()
    of_dev = [run for run in more.content['runs'] if run['split'] == 'dev']
    more.content['runs'] += [run | {'split': 'official_val'} for run in of_dev]
    rows = [row | {'split': 'official_val'} for row in more.content['differences'][:1]]
    more.content['differences'] += rows
    lines = [line for line in sections.trainings([more]).splitlines() if line.startswith('|')]
    assert lines[0].endswith('| calibration | mIoU, official validation |')
    assert lines[2].endswith('| 50.0 | 50.0 |')
    assert lines[3].endswith('| 52.0 (**+2.0 [+1.0, +3.0]**) |')


def test_the_final_check_judges_what_was_predicted_and_gives_no_advice():
    check = study('street_scenes_977', gain={**GAIN, 'recall': -0.02}, title='check')
    text = sections.final_check([study(), check])
    assert '- Recall loss raises mIoU: −2.0 [−3.0, −1.0], refuted.' in text
    assert 'calibration:' not in text  # nobody had predicted it
    assert 'check' not in advice.advice([study(), check])
    assert sections.final_check([study()]) == sections.NOTHING


def test_losses_of_a_method_are_listed():
    text = details.losses_of(study())
    assert '- weighted cross entropy is worse in mIoU −3.0 [−4.0, −2.0]' in text
    assert 'No score is shown to gain from weighted cross entropy, loss max-pooling.' in text


def test_the_largest_losses_are_named_by_score():
    other = study('u', gain={**GAIN, 'wce': -0.05}, title='other')
    line = next(t for t in sections.worst([study(), other]).splitlines() if '| mIoU |' in t)
    assert line.startswith('| mIoU | 2 of 6 | weighted cross entropy −5.0 [−6.0, −4.0], other<br>')


def test_losses_of_all_studies_are_a_range():
    other = study('u', gain={**GAIN, 'wce': -0.05})
    text = sections.against([study(), other])
    line = next(line for line in text.splitlines() if line.startswith('| weighted'))
    assert line.startswith('| weighted cross entropy | −3.0 to −5.0 (2) |')
    assert 'recall loss' not in text


def test_the_headline_s_picture_has_every_training_of_several_seeds(tmp_path):
    few = study('u', title='T2')
    few.content['runs'] = [run for run in few.content['runs'] if run['method'] != 'lmp']
    shown = sections.in_headline([study(title='T1'), few, study('v', seeds=1)])
    assert [one.title for one in shown] == ['T1', 'T2']
    assert 'T2: 3 test images, 10 iterations, 5 seeds.' in sections.headline(shown)

    first = summary(shown).axes[0]
    lines = [label.get_text() for label in first.get_yticklabels()]
    losses = ['recall loss', 'weighted cross entropy', 'loss max-pooling']
    assert lines == ['T1', *losses, 'T2', *losses[:2]]
    assert [text.get_text() for text in first.texts] == ['cross entropy 50.0'] * 2
    colours = {
        line.get_ydata()[0]: line.get_color() for line in first.lines if line.get_marker() == 'o'
    }
    assert [colours[y] for y in (1, 2)] == [INK_OF['better'], INK_OF['worse']]
    assert colours[3] not in INK_OF.values()
    assert draw_summary(shown, tmp_path).stat().st_size > 1000


def test_tuning_is_said_beside_the_seeds():
    one, tuned = study('one', 'screen'), study('two', 'screen')
    tuned.content['setting']['tuned'] = 3
    made = sections.screened_losses([one, tuned])
    assert 'one: 3 test images, 10 iterations, 5 seeds; two:' in made
    assert 'two: 3 test images, 10 iterations, 5 seeds, the best of 3 settings on dev.' in made


def test_tuning_names_what_was_chosen_and_what_it_gained():
    tuned = study('s', 'screen')
    for run in tuned.content['runs']:
        run['settings'] = {'lr': 3.0} if run['method'] != 'wce' else {}
    tuned.content['trials'] = [
        {'method': m, 'settings': settings, 'scores': {'mIoU': 0.5 + gain}}
        for m in ('ce', 'recall', 'wce')
        for settings, gain in (({}, 0.0), ({'lr': 3.0}, 0.012 if m != 'wce' else -0.1))
    ]
    assert details.tuning(tuned).splitlines()[2:] == [
        '- 3 × learning rate: cross entropy +1.2, recall loss +1.2.',
        '- defaults: weighted cross entropy 0.0.',
    ]
    assert details.tuning(study()) == ''


def test_one_table_has_every_data_set():
    heads = study('s', 'screen', title='T1 on A, screening')
    other = study('u', 'screen', gain={**GAIN, 'recall': 0.03}, title='T1 on B, screening')
    lines = sections.screened_losses([heads, other]).splitlines()
    assert lines[0].startswith('| method | mIoU, T1 on A | mIoU, T1 on B | mean recall, T1 on A |')
    assert lines[2].startswith('| recall loss | **+2.0** | **+3.0** |')
    assert lines[3].startswith('| loss max-pooling | 0.0 | 0.0 |')
    assert sections.screened_samplers([heads]) == sections.NOTHING


@pytest.mark.parametrize(
    ('claim', 'seeds', 'verdict'),
    [
        (claims.Claim('A', 'gains', '+1', 'recall', 'mIoU'), 5, claims.HELD),
        (claims.Claim('A', 'gains', '+1', 'wce', 'mIoU'), 5, claims.NOT_HELD),
        (claims.Claim('A', 'loses', '-1', 'wce', 'mIoU', expected='worse'), 5, claims.HELD),
        (claims.Claim('A', 'gains', '+1', 'lmp', 'mIoU'), 5, claims.UNDECIDED),
        (claims.Claim('A', 'gains', '+1', 'lmp', 'mIoU'), 1, claims.NO_INTERVAL),
        (claims.Claim('A', 'gains', '+1', 'focal', 'mIoU'), 5, claims.NOT_MEASURED),
        (claims.Claim('A', 'keeps', '-1.9', 'lmp', 'mIoU', bound=-1.9), 5, claims.HELD),
        (claims.Claim('A', 'keeps', '-0.5', 'lmp', 'mIoU', bound=-0.5), 5, claims.UNDECIDED),
        (claims.Claim('A', 'keeps', '-1.9', 'wce', 'mIoU', bound=-1.9), 5, claims.NOT_HELD),
    ],
)
def test_claims_are_judged_by_the_written_rule(claim, seeds, verdict):
    assert claims.judged(claim, study(seeds=seeds))[0] == verdict


def test_claims_in_brief_count_the_studies_and_say_the_range():
    less = study('u', gain={**GAIN, 'recall': 0.03, 'lmp': -0.004}, seeds=5)
    lines = claims.claims_in_brief([study(), less]).splitlines()
    assert lines[2].endswith('| undecided in 2 of 2: 0.0 to −0.4 |')
    assert any(line.endswith('| held in 2 of 2: +2.0 to +3.0 |') for line in lines)
    assert any(line.endswith(f'| {claims.NOT_MEASURED} |') for line in lines)
    assert '| t: +2.0 [+1.0, +3.0]<br>u: +3.0 [+2.0, +4.0] |' in claims.claims_in_full(
        [study(), less]
    )


def test_agreement_of_screening_and_training_of_one_config():
    heads = study('s', 'screen')
    text = ranking.rank_agreements([study(), heads])
    assert re.search(r'\| mIoU \| \+1\.00 \|', text)
    assert 'Needs a screening' in ranking.rank_agreements([study(config='d.py'), heads])


def test_mean_ranks_need_two_data_sets():
    assert 'Needs full trainings on two' in ranking.ranks_over_data([study()])
    assert 'Needs full trainings on two' in ranking.ranks_over_data(
        [study(), study('t1_camvid_12k')]
    )
    text = ranking.ranks_over_data([study(), study('u')])
    assert '| mIoU | 2.5 | 1.0 | 4.0 | 2.5 |' in text


def test_the_zoo_has_recipe_scores_and_hashes():
    text = zoo.metafile([study()])
    assert 'Config: configs/deeplabv3_recall_camvid.py' in text
    assert '- abcdef40\n' in text
    assert 'mIoU: 52.0\n' in text


def test_figures_are_drawn_twice_alike(tmp_path):
    first = [path.read_bytes() for path in draw(study(), tmp_path)]
    assert len(first) == 3
    assert first == [path.read_bytes() for path in draw(study(), tmp_path)]


def test_json_has_a_line_for_each_run_and_no_path_of_the_machine(tmp_path):
    content = {'a': 1, 'runs': [{'x': 1.0}, {'x': 2.0}]}
    text = publishing.as_text(content)
    assert json.loads(text) == content
    assert len(text.splitlines()) == 7
    assert publishing.ABSOLUTE.findall('python x --work-dir /home/me/w a/b') == ['/home/me/w']


def test_examples_of_the_tools():
    for module in (store, tables, details):
        tried = doctest.testmod(module)
        assert tried.attempted
        assert not tried.failed


def test_a_sampler_is_compared_with_its_own_loss(tmp_path):
    for method in ('ce', 'dice', 'dice + balance'):
        for seed in (0, 1):
            write_run(tmp_path, method, seed)
    results = write_results(tmp_path, ('ce', 'dice', 'dice + balance'))
    rows = publishing.from_own_loss(results, tmp_path)
    assert {(row['method'], row['baseline']) for row in rows} == {('dice + balance', 'dice')}
    (row,) = [row for row in rows if (row['score'], row['split']) == ('mIoU', 'test')]
    means = [
        np.mean([r['scores']['mIoU'] for r in results['runs'] if r['method'] == method])
        for method in ('dice', 'dice + balance')
    ]
    assert row['mean'] == pytest.approx(means[1] - means[0])


def test_what_is_combined_with_one_loss_is_adjusted_together(tmp_path):
    """Each was a family of its own, so nothing was adjusted."""
    for method in ('ce', 'dice', 'dice + balance', 'dice + uniform'):
        for seed in (0, 1, 2):
            write_run(tmp_path, method, seed)
    results = write_results(tmp_path, ('ce', 'dice', 'dice + balance', 'dice + uniform'))

    def p_values(found):
        return {
            row['method']: row['p_holm']
            for row in publishing.from_own_loss(found, tmp_path)
            if (row['score'], row['baseline']) == ('cal', 'dice')
        }

    together = p_values(results)
    alone = {}
    for method in together:
        kept = [run for run in results['runs'] if run['method'] in ('ce', 'dice', method)]
        alone |= p_values({**results, 'runs': kept})
    assert alone.keys() == {'dice + balance', 'dice + uniform'}
    assert list(together.values()) == pytest.approx(list(holm(list(alone.values()))))


def test_runs_that_stand_in_two_studies_are_counted_once():
    """The losses beside which samplers are screened are those of the losses' own study."""
    losses, samplers = study('losses', kind='screen'), study('samplers', kind='screen')
    for part in (samplers.content['runs'], samplers.content['differences']):
        part += [
            {**entry, 'method': f'{entry["method"]} + iou'}
            for entry in part
            if entry['method'] == 'recall'
        ]
    elsewhere = study('elsewhere', kind='screen', config='configs/other.py')
    once = store.each_once([samplers, losses, elsewhere])
    assert [one.name for one in once] == ['samplers', 'losses', 'elsewhere']
    assert once[0].methods == ['ce', 'recall + iou']
    assert once[1].methods == elsewhere.methods == losses.methods
    brief = claims.claims_in_brief([samplers, losses])
    assert claims.claims_in_brief([losses]) == brief
    # Three losses here, three elsewhere, and one with the decision.
    assert ' of 7 |' in sections.worst([samplers, losses, elsewhere])


def test_a_decision_is_not_judged_by_probabilities_that_it_leaves_alone():
    heads = study('heads', kind='screen', gain={**GAIN, 'recall': 0.02})
    for part in (heads.content['runs'], heads.content['differences']):
        part += [{**e, 'method': 'recall + iou'} for e in part if e['method'] == 'recall']
    assert advice.ranked(heads, 'mIoU')[1]['method'] == 'recall + iou'
    assert [row['method'] for row in advice.ranked(heads, 'cal')] == ['recall']
    table = sections.worst([heads]).splitlines()
    assert ' of 4 |' in next(line for line in table if line.startswith('| mIoU |'))
    assert ' of 3 |' in next(line for line in table if line.startswith('| calibration |'))
