"""What follows from a scenario, a schedule and a method, however a config gets them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcomformer.engine.request import Request, load_config
from mmcomformer.engine.scenario_config import check_derived, find_scenarios, scenario_of
from mmcomformer.method_settings import RECIPES
from mmcomformer.models.extra_losses import former_losses
from mmcomformer.recipe import derive, stale_values

pytestmark = pytest.mark.families

CONFIGS = Path(__file__).parents[1] / 'configs'
ADE, SHAPES = CONFIGS / 'comformer_ade_100-50.py', CONFIGS / 'comformer_shapes_6-3.py'


@pytest.fixture
def mine(tmp_path):
    """Write a config of a user that inherits one of ours, and load it."""

    def load(text, step=0, base=ADE, name='mine', **options):
        path = tmp_path / f'{name}.py'
        path.write_text(f'_base_ = {str(base)!r}\n{text}\n')
        return load_config(Request(config=str(path), cfg_options=options), step)

    return load


def load(path, step=0, **options):
    return load_config(Request(config=str(path), cfg_options=options), step)


def iterations(cfg):
    return cfg.train_cfg.max_iters, cfg.train_cfg.val_interval, cfg.param_scheduler[0].end


class TestThreeLines:
    def test_another_scenario(self, mine):
        cfg = mine('scenario = dict(increments=[100] + [10] * 5)', step=4)
        # every copy is the same, or this raises
        scenario = scenario_of(cfg)
        assert scenario.increments == (100, 10, 10, 10, 10, 10)
        assert len(list(find_scenarios(cfg))) == 5
        assert iterations(cfg) == (4000, 5000, 4001)
        assert cfg.work_dir == './work_dirs/mine/step4'
        check_derived(cfg)

    @pytest.mark.parametrize('setting', ['disjoint', 'sequential'])
    def test_another_setting_and_order(self, mine, setting):
        order = '_base_.scenario.class_order[::-1]'
        cfg = mine(f'scenario = dict(setting={setting!r}, class_order={order})', 1, SHAPES)
        scenario = scenario_of(cfg)
        assert scenario.setting == setting
        assert scenario.order == scenario_of(load(SHAPES)).order[::-1]

    def test_a_scenario_of_its_own(self, mine):
        text = "scenario = dict(_delete_=True, increments=[2, 1], stuff_classes=['a', 'b', 'c'])"
        cfg = mine(text, 1, SHAPES)
        scenario = scenario_of(cfg)
        assert (scenario.step, scenario.increments) == (1, (2, 1))
        assert scenario.classes == scenario.order == ('a', 'b', 'c')

    def test_a_schedule(self, mine):
        assert iterations(mine('schedule = dict(base_iters=10)')) == (10, 5000, 11)
        cfg = mine('schedule = dict(later_iters=7, later_lr=3e-5)', 1)
        assert iterations(cfg) == (7, 5000, 8)
        assert cfg.optim_wrapper.optimizer.lr == 3e-5

    def test_a_loss_weight_that_depends_on_the_classes(self, mine):
        base = CONFIGS / 'plop_shapes_6-3.py'
        cfg = mine('scenario = dict(increments=[4, 8])', 1, base)
        assert cfg.model.extra_losses.feature.loss_weight == pytest.approx(0.001 * (8 / 12) ** 0.5)

    def test_a_work_dir_stays(self, mine):
        text = "scenario = dict(increments=[6, 6])\nwork_dir = f'mine/step{_base_.step}'"
        assert mine(text, 1, SHAPES).work_dir == 'mine/step1'

    def test_of_three_lines_another(self, mine, tmp_path):
        mine('scenario = dict(increments=[6, 6])', 0, SHAPES)
        cfg = mine('schedule = dict(base_iters=3)', 1, tmp_path / 'mine.py', 'yours')
        assert scenario_of(cfg).increments == (6, 6)
        assert cfg.work_dir == './work_dirs/yours/step1'

    def test_a_copy_that_was_changed_by_hand(self, mine):
        text = 'scenario = dict(increments=[50] * 3)\nval_dataloader = dict(dataset=dict('
        with pytest.raises(ValueError, match='val_dataloader.dataset.scenario: it differs from'):
            mine(f"{text}scenario=dict(setting='disjoint')))")

    def test_other_programs_tell_what_to_do(self, mine, tmp_path):
        mine('scenario = dict(increments=[50] * 3)')
        with pytest.raises(ValueError, match=r'it differs .* tools/train.py .* folder of the step'):
            scenario_of(Config.fromfile(tmp_path / 'mine.py'))
        mine('schedule = dict(base_iters=3)')
        message = r'train_cfg.max_iters, param_scheduler.0.end: not what follows'
        with pytest.raises(ValueError, match=message):
            check_derived(Config.fromfile(tmp_path / 'mine.py'))

    def test_the_complete_config_of_a_run_serves_other_programs(self, mine, tmp_path):
        cfg = mine('scenario = dict(increments=[6, 6])', 1, SHAPES)
        (tmp_path / 'run').mkdir()
        cfg.dump(tmp_path / 'run' / 'mine.py')
        again = Config.fromfile(tmp_path / 'run' / 'mine.py')
        assert again.to_dict() == cfg.to_dict()
        assert scenario_of(again).step == 1
        check_derived(again)
        assert load(tmp_path / 'run' / 'mine.py', 1).to_dict() == cfg.to_dict()


class TestOneNumber:
    @pytest.mark.parametrize(
        ('path', 'options', 'expected'),
        [
            (ADE, {'train_cfg.max_iters': 320_000}, (320_000, 5000, 320_001)),
            (ADE, {'schedule.base_iters': 320_000}, (320_000, 5000, 320_001)),
            (ADE, {'schedule': {'base_iters': 9}}, (9, 5000, 10)),
            (SHAPES, {'train_cfg.max_iters': 3}, (3, 3, 3)),
            (SHAPES, {'schedule.base_iters': 3}, (3, 3, 3)),
            # what is given stays, even where it is what was derived
            (SHAPES, {'train_cfg.max_iters': 3, 'train_cfg.val_interval': 2}, (3, 2, 3)),
            (SHAPES, {'train_cfg.max_iters': 3, 'train_cfg.val_interval': 1000}, (3, 1000, 3)),
            (SHAPES, {'train_cfg.max_iters': 3, 'param_scheduler.0.end': 1000}, (3, 3, 1000)),
            (SHAPES, {'schedule.val_interval': 5}, (1000, 5, 1000)),
        ],
    )
    def test_iterations(self, path, options, expected):
        assert iterations(load(path, **options)) == expected

    def test_rates(self):
        rates = [load(ADE, step, **{'schedule.base_lr': 1.0}) for step in (0, 1)]
        assert [cfg.optim_wrapper.optimizer.lr for cfg in rates] == [1.0, 5e-5]
        one = load(SHAPES, 1, **{'schedule.base_lr': 1.0})
        assert one.optim_wrapper.optimizer.lr == 1.0
        one = load(ADE, 1, **{'optim_wrapper.optimizer.lr': 1.0})
        assert one.optim_wrapper.optimizer.lr == 1.0

    def test_scenario(self):
        options = {'scenario.increments': [100, 25, 25], 'scenario.setting': 'disjoint'}
        cfg = load(ADE, 2, **options)
        assert scenario_of(cfg).increments == (100, 25, 25)
        assert iterations(cfg)[0] == 25 * 400

    @pytest.mark.parametrize('name', ['', '_instances', '_semantic'])
    def test_crop_and_folder(self, name):
        path = CONFIGS / f'comformer_custom{name}.py'
        cfg = load(path, crop_size=(128, 64), data_root='elsewhere/')
        pipeline = {part.type: part for part in cfg.train_dataloader.dataset.pipeline}
        assert pipeline['RandomCrop'].crop_size == pipeline['Pad'].size == (128, 64)
        padding = cfg.model.data_preprocessor
        size = padding.size if 'size' in padding else padding.batch_augments[0].size
        assert size == (64, 128)
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            assert loader.dataset.dataset.data_root == 'elsewhere/'

    def test_own_data_name_the_classes_once(self, mine):
        base = CONFIGS / 'comformer_custom_semantic.py'
        names = "stuff_classes=['a', 'b'], class_order=['b', 'a']"
        cfg = mine(f'scenario = dict({names}, increments=[1, 1])', 0, base)
        assert cfg.val_dataloader.dataset.dataset.metainfo == dict(classes=['a', 'b'])

    def test_epochs_are_left_alone(self, mine):
        loop = "dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)"
        cfg = mine(f'train_cfg = {loop}\nscenario = dict(increments=[50] * 3)')
        assert cfg.train_cfg == dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1)


class TestMethod:
    @pytest.mark.parametrize('method', ['finetune', 'mib', 'plop'])
    def test_is_chosen_by_one_variable(self, method, monkeypatch):
        monkeypatch.setenv('METHOD', method)
        chosen, own = load(SHAPES, 1), load(CONFIGS / f'{method}_shapes_6-3.py', 1)
        assert chosen.model == own.model
        assert chosen.custom_hooks == own.custom_hooks
        assert chosen.work_dir == f'./work_dirs/comformer_shapes_6-3_{method}/step1'
        assert own.work_dir == f'./work_dirs/{method}_shapes_6-3/step1'

    @pytest.mark.parametrize('recipe', RECIPES)
    @pytest.mark.parametrize(
        'method', ['balconpas', 'balconpas_replay', 'comformer', 'eclipse', 'ours', 'simcis']
    )
    @pytest.mark.parametrize(
        ('scenario', 'last'),
        [
            ('ade_100-50', 1),
            ('ade_100-5', 10),
            ('ade_semantic_100-50', 1),
            ('shapes_6-3', 2),
            ('shapes_4-1', 8),
        ],
    )
    def test_has_the_numbers_of_its_own_config(self, scenario, last, method, recipe, monkeypatch):
        monkeypatch.setenv('RECIPE', recipe)
        own = load(CONFIGS / f'{method}_{scenario}.py', last)
        monkeypatch.setenv('METHOD', method)
        other = 'plop' if method == 'comformer' else 'comformer'
        chosen = load(CONFIGS / f'{other}_{scenario}.py', last)
        for key in (
            *('model', 'train_cfg', 'param_scheduler', 'optim_wrapper', 'auto_scale_lr'),
            *('custom_hooks', 'train_dataloader', 'val_dataloader', 'recipe'),
        ):
            assert chosen[key] == own[key], key

    def test_settings_of_one_task(self, monkeypatch):
        """The base of a method is one for both tasks; what holds for one alone stands below it."""
        own = load(CONFIGS / 'balconpas_shapes_semantic_6-3.py', 1)
        monkeypatch.setenv('METHOD', 'balconpas')
        chosen = load(CONFIGS / 'comformer_shapes_semantic_6-3.py', 1)
        assert chosen.model == own.model
        assert own.model.decode_head.semantic_fusion == dict(type='ScoreSumFusion')
        assert own.model.test_cfg == dict(mode='whole')
        panoptic = load(SHAPES, 1).model
        assert panoptic.panoptic_head.type == 'IncrementalQueryHead'
        assert 'semantic_fusion' not in panoptic.panoptic_head

    def test_former_base_of_another_task(self, monkeypatch):
        monkeypatch.setenv('METHOD', 'mib_semantic')
        chosen = load(CONFIGS / 'comformer_shapes_semantic_6-3.py', 1)
        assert chosen.work_dir == './work_dirs/comformer_shapes_semantic_6-3_mib/step1'
        for name in ('comformer_shapes_6-3.py', 'comformer_shapes_instances_6-2.py'):
            with pytest.raises(ValueError, match='is one of semantic .*choose another METHOD'):
                load(CONFIGS / name)

    def test_keeps_its_folder_in_the_config_of_a_run(self, tmp_path, monkeypatch):
        monkeypatch.setenv('METHOD', 'mib')
        load(SHAPES, 1).dump(tmp_path / SHAPES.name)
        monkeypatch.delenv('METHOD')
        again = load(tmp_path / SHAPES.name, 1)
        assert again.work_dir == './work_dirs/comformer_shapes_6-3_mib/step1'

    def test_unknown(self, monkeypatch):
        monkeypatch.setenv('METHOD', 'plob')
        message = '^METHOD=plob: expected one of balconpas, .*, plop, simcis$'
        with pytest.raises(ValueError, match=message) as caught:
            load(SHAPES)
        assert '_semantic' not in str(caught.value)
        monkeypatch.setenv('METHOD', 'finetun')
        with pytest.raises(ValueError, match='simcis; did you mean finetune?'):
            load(SHAPES)

    def test_changed_after_it_was_built_in(self, mine):
        with pytest.raises(ValueError, match='method: it is built into the model .* METHOD='):
            mine('method = dict(model=dict(extra_losses=dict(distill=None)))')
        with pytest.raises(ValueError, match='method: it is built into the model'):
            mine('per_method = dict(comformer=dict(head=dict(num_queries=3)))')

    def test_what_the_config_says_wins(self, mine):
        cfg = mine('model = dict(extra_losses=dict(distill=dict(loss_weight=3.0)))')
        assert cfg.model.extra_losses.distill.loss_weight == 3.0


class TestRecipe:
    """What a method sets in its released recipe, and what is the same for all in the fair one."""

    RELEASED = """
scenario = dict(increments=[100, 50])
method = dict(released=dict(
    head=dict(num_queries=7),
    config=dict(
        schedule=dict(later_iters=70, base_drops=[0.5], later_drops=[0.4, 0.85]),
        param_scheduler=[dict(type='MultiStepLR', gamma=0.1, by_epoch=False)],
        train_dataloader=dict(batch_size=3),
    ),
))
"""

    def test_released(self, leaf):
        cfg = leaf(self.RELEASED, step=1)
        assert (cfg.recipe, cfg.model.panoptic_head.num_queries) == ('released', 7)
        assert (cfg.train_cfg.max_iters, cfg.train_dataloader.batch_size) == (70, 3)
        assert cfg.param_scheduler[0].milestones == [28, 60]
        assert leaf(self.RELEASED).param_scheduler[0].milestones == [80_000]

    @pytest.mark.parametrize('by', ['config', 'environment'])
    def test_fair(self, leaf, monkeypatch, by):
        text = self.RELEASED
        if by == 'environment':
            monkeypatch.setenv('RECIPE', 'fair')
        else:
            text += "recipe = 'fair'"
        fair, without = leaf(text, step=1), leaf('scenario = dict(increments=[100, 50])', step=1)
        assert fair.recipe == 'fair'
        for key in ('model', 'train_cfg', 'param_scheduler', 'train_dataloader', 'optim_wrapper'):
            assert fair[key] == without[key], key
        assert fair.work_dir == './work_dirs/leaf_fair/step1'

    def test_of_a_leaf_alone(self, leaf):
        own = 'per_method = dict(comformer=dict(released=dict(config=dict(schedule=dict(%s)))))'
        cfg = leaf(f'{self.RELEASED}{own % "later_iters=9"}', step=1)
        # the leaf's numbers win over those of the method, and leave the others
        assert (cfg.train_cfg.max_iters, cfg.param_scheduler[0].milestones) == (9, [4, 8])

    def test_of_a_task_alone(self, leaf):
        """It wins over what holds for both tasks, and a leaf's own over it."""
        text = 'scenario = dict(increments=[100, 50])\nmethod = dict(head=dict(num_queries=%d)'
        both = text % 7 + ', panoptic=dict(head=dict(num_queries=8)), semantic=dict(head=dict(%s)))'
        cfg = leaf(both % 'num_queries=9')
        assert cfg.model.panoptic_head.num_queries == 8
        own = '\nper_method = dict(comformer=dict(panoptic=dict(head=dict(num_queries=10))))'
        assert leaf(both % '' + own).model.panoptic_head.num_queries == 10

    def test_what_the_leaf_sets_wins(self, leaf):
        assert leaf(f'{self.RELEASED}schedule = dict(later_iters=5)', 1).train_cfg.max_iters == 5

    def test_unknown(self, leaf, monkeypatch):
        with pytest.raises(ValueError, match="recipe: expected released or fair, got 'fiar'"):
            leaf(f"{self.RELEASED}recipe = 'fiar'")
        monkeypatch.setenv('RECIPE', 'fast')
        with pytest.raises(ValueError, match="RECIPE: expected released or fair, got 'fast'"):
            leaf(self.RELEASED)

    def test_chosen_too_late(self, mine):
        with pytest.raises(ValueError, match='method: it is built into .* RECIPE='):
            mine("recipe = 'fair'")
        with pytest.raises(ValueError, match='method: it is built into .* RECIPE='):
            load(SHAPES, recipe='fair')

    def test_misspelt(self, leaf):
        for key, message in (
            ('heads', "method: unknown keys \\['heads'\\].* 'head' for 'heads'"),
            ('released', "released: unknown keys \\['model_'\\]"),
            ('semantic', "semantic: unknown keys \\['model_'\\]"),
        ):
            with pytest.raises(TypeError, match=message):
                leaf(f'{self.RELEASED}method["{key}"] = dict(model_=1)')

    @pytest.mark.parametrize('drops', ['0.5', '[1.5]', "['a']"])
    def test_drops_that_are_no_shares(self, leaf, drops):
        with pytest.raises(TypeError, match=r'schedule.base_drops: expected shares .* in \(0, 1\)'):
            leaf(f'{self.RELEASED}schedule = dict(base_drops={drops})')

    def test_drops_that_nothing_reads(self, leaf):
        text = 'scenario = dict(increments=[100, 50])\nschedule = dict(base_drops=[0.5])'
        with pytest.raises(ValueError, match='base_drops: param_scheduler has no MultiStepLR'):
            leaf(text)


LEAF = """
_base_ = [{bases}]
from mmcomformer.recipe import complete
{text}
complete(globals(), '{{{{fileBasenameNoExtension}}}}')
"""


@pytest.fixture
def leaf(tmp_path, monkeypatch):
    """Parse a leaf config as programs of others do."""

    def parse(text, step=0, *, method='comformer'):
        monkeypatch.setenv('STEP', str(step))
        names = ('ade20k_panoptic_r50.py', f'methods/{method}.py')
        bases = ', '.join(repr(str(CONFIGS / '_base_' / name)) for name in names)
        path = tmp_path / 'leaf.py'
        path.write_text(LEAF.format(bases=bases, text=text))
        return Config.fromfile(path)

    return parse


class TestLeaf:
    def test_without_a_scenario(self, leaf):
        with pytest.raises(TypeError, match=r"scenario: keys \['increments'\] are missing"):
            leaf('')

    def test_misspelt(self, leaf):
        message = r"scenario: unknown keys \['incremets'\]; .* mean 'increments' for 'incremets'"
        with pytest.raises(TypeError, match=message):
            leaf('scenario = dict(incremets=[100, 50])')
        message = r"schedule: unknown keys \['base_iter'\]; .* mean 'base_iters' for 'base_iter'"
        with pytest.raises(TypeError, match=message):
            leaf('scenario = dict(increments=[100, 50])\nschedule = dict(base_iter=3)')

    def test_incomplete_schedule(self, leaf):
        text = 'scenario = dict(increments=[100, 50])\nschedule = dict(_delete_=True, base_iters=3)'
        with pytest.raises(ValueError, match=r"schedule: keys \['base_lr'\] are missing"):
            leaf(text)

    @pytest.mark.parametrize('increments', ['[]', '5'])
    def test_increments(self, leaf, increments):
        with pytest.raises(TypeError, match='scenario.increments: expected a list of class counts'):
            leaf(f'scenario = dict(increments={increments})')

    def test_what_it_sets_itself_stays(self, leaf):
        cfg = leaf(
            'scenario = dict(increments=[100, 50])\n'
            'train_cfg = dict(max_iters=3, val_interval=2)\n'
            'optim_wrapper = dict(optimizer=dict(lr=7.0))\n'
            "work_dir = 'mine/step0'"
        )
        assert iterations(cfg) == (3, 2, 4)
        assert cfg.optim_wrapper.optimizer.lr == 7.0
        assert cfg.work_dir == 'mine/step0'

    def test_its_own_model_wins_over_the_method(self, leaf):
        distill = 'model = dict(extra_losses=dict(distill=dict(loss_weight=3.0)))'
        cfg = leaf(f'scenario = dict(increments=[100, 50])\n{distill}', method='mib')
        assert cfg.model.extra_losses.distill.loss_weight == 3.0
        assert not cfg.model.extra_losses.distill.adaptive

    def test_schedulers_that_count_epochs_are_left_alone(self, leaf):
        cfg = leaf(
            'scenario = dict(increments=[100, 50])\n'
            "param_scheduler = [dict(type='PolyLR', by_epoch=True)]"
        )
        assert 'end' not in cfg.param_scheduler[0]

    def test_schedulers_that_have_an_end_keep_it(self, leaf):
        warm_up = "dict(type='LinearLR', by_epoch=False, begin=0, end=10)"
        cfg = leaf(
            'scenario = dict(increments=[100, 50])\n'
            f"param_scheduler = [{warm_up}, dict(type='PolyLR', by_epoch=False, begin=10)]"
        )
        assert [scheduler.end for scheduler in cfg.param_scheduler] == [10, 160_001]


def test_nothing_is_stale_in_what_was_derived():
    cfg = Config.fromfile(ADE).to_dict()
    assert stale_values(cfg) == []
    cfg['train_cfg']['max_iters'] = 3
    assert stale_values(cfg) == ['param_scheduler.0.end']


def test_deriving_twice_changes_nothing():
    cfg = Config.fromfile(CONFIGS / 'comformer_custom.py').to_dict()
    again = Config.fromfile(CONFIGS / 'comformer_custom.py').to_dict()
    derive(again, again['derived'], 'comformer_custom')
    assert again == cfg


def test_needs_no_torch():
    code = 'import sys, mmcomformer.recipe; sys.exit("torch" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_variables_of_the_shell_do_not_reach_the_tests(request):
    assert 'clean_environment' in request.fixturenames


FORMER = """\
_base_ = [
    '{bases}/models/{model}.py',
    '{bases}/datasets/{data}.py',
    '{bases}/scenarios/{scenario}.py',
    '{bases}/schedules/{schedule}.py',
    '{bases}/methods/{method}.py',
    '{bases}/{runtime}.py',
]
step, scenario = _base_.step, _base_.scenario
work_dir = f'./work_dirs/former/step{{_base_.step}}'
model = dict({head}=dict(scenario=scenario, loss_distill=dict(loss_weight={weight})))
train_dataloader = dict(dataset=dict(scenario=scenario))
val_dataloader = dict(dataset=dict(scenario=scenario))
test_dataloader = dict(dataset=dict(scenario=scenario))
max_iters = {iters}
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr={rate}))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=max_iters + 1, by_epoch=False)
]
"""


@pytest.mark.parametrize('step', [0, 1])
@pytest.mark.parametrize(
    ('name', 'parts'),
    [
        (
            'comformer_ade_100-10.py',
            dict(
                model='comformer_r50',
                data='ade20k_panoptic',
                scenario='ade_100-10',
                method='comformer',
                runtime='default_runtime',
                head='panoptic_head',
                weight=10.0,
            ),
        ),
        (
            'comformer_ade_semantic_100-50.py',
            dict(
                model='comformer_r101_semantic',
                data='ade20k_semantic',
                scenario='ade_semantic_100-50',
                method='comformer_semantic',
                runtime='default_runtime_semantic',
                head='decode_head',
                weight=0.5,
            ),
        ),
    ],
)
def test_a_config_of_six_bases_as_before(tmp_path, name, parts, step):
    """A user's config in the former style has everything that the one of the package has."""
    iters = "160000 if step == 0 else 400 * scenario['increments'][step]"
    path = tmp_path / 'former.py'
    path.write_text(
        FORMER.format(
            **parts,
            bases=(CONFIGS / '_base_').as_posix(),
            schedule='comformer_160k',
            iters=iters,
            rate='1e-4 if step == 0 else 5e-5',
        )
    )
    former = load_config(Request(config=str(path)), step)
    ours = load_config(Request(config=str(CONFIGS / name)), step)
    head, losses = former_losses(
        former.model[parts['head']], former.model.extra_losses, former.model.get('loss_feature')
    )
    assert losses == ours.model.extra_losses
    former.model[parts['head']] = head
    for cfg in (former, ours):
        del cfg.model['extra_losses']
    for hook in ours.custom_hooks:
        # what it is by default need not be said
        if hook.get('task') == 'panoptic':
            del hook['task']
    keys = {'model', 'custom_hooks', 'optim_wrapper', 'train_cfg', 'param_scheduler'}
    for key in (*keys, 'train_dataloader', 'val_dataloader', 'default_hooks', 'scenario'):
        assert former[key] == ours[key], key


class TestImageSize:
    @pytest.fixture
    def parse(self, tmp_path):
        def parse(task, text='', step=0, **options):
            head = '' if task == 'panoptic' else f'_{task}'
            path = tmp_path / 'mine.py'
            path.write_text(f"_base_ = 'mmcomformer::comformer_custom{head}.py'\n{text}\n")
            return load_config(Request(config=str(path), cfg_options=options), step)

        return parse

    @pytest.mark.parametrize('task', ['panoptic', 'instances', 'semantic'])
    def test_everything_follows(self, parse, task):
        cfg = parse(task, 'image_size = 200')
        train = {t.type: t for t in cfg.train_dataloader.dataset.pipeline}
        assert train['RandomChoiceResize'].scales[0] == 100
        assert train['RandomChoiceResize'].scales[-1] == 400
        assert train['RandomChoiceResize'].max_size == 800
        assert train['RandomCrop'].crop_size == train['Pad'].size == (200, 200)
        for loader in (cfg.val_dataloader, cfg.test_dataloader):
            assert loader.dataset.pipeline[1].scale == (800, 200)
        preprocessor = cfg.model.data_preprocessor
        padding = preprocessor if task == 'semantic' else preprocessor.batch_augments[0]
        assert padding.size == (200, 200)
        if task == 'semantic':
            scales = [resize.scale for resize in cfg.tta_pipeline[1].transforms[0]]
            assert scales[0] == (400, 100)
            assert scales[2] == (800, 200)

    def test_option(self, parse):
        cfg = parse('panoptic', image_size=200)
        assert cfg.train_dataloader.dataset.pipeline[3].crop_size == (200, 200)

    def test_option_of_the_pipeline(self, parse):
        key = 'train_dataloader.dataset.pipeline.3.crop_size'
        cfg = parse('panoptic', 'image_size = 200', **{key: (48, 48)})
        assert cfg.train_dataloader.dataset.pipeline[3].crop_size == (48, 48)
        assert cfg.train_dataloader.dataset.pipeline[2].max_size == 800

    def test_what_is_set_by_hand_stays(self, parse):
        cfg = parse('panoptic', 'image_size = 200\ncrop_size = (64, 128)')
        assert cfg.train_dataloader.dataset.pipeline[3].crop_size == (64, 128)
        assert cfg.test_dataloader.dataset.pipeline[1].scale == (800, 200)

    @pytest.mark.parametrize('size', [0, 1.5, (3, 3), True])
    def test_no_number_of_pixels(self, parse, size):
        with pytest.raises(TypeError, match='image_size: expected a number of pixels'):
            parse('panoptic', f'image_size = {size}')

    def test_data_that_do_not_have_it(self, tmp_path):
        path = tmp_path / 'mine.py'
        path.write_text("_base_ = 'mmcomformer::comformer_shapes_6-3.py'\nimage_size = 64\n")
        with pytest.raises(ValueError, match='image_size: nothing reads it in this config'):
            load_config(Request(config=str(path)), 0)


@pytest.mark.parametrize('task', ['panoptic', 'semantic', 'instances'])
def test_template_with_the_tiny_model(task, tmp_path):
    leaf = CONFIGS / f'comformer_custom{"" if task == "panoptic" else f"_{task}"}.py'
    text = re.sub(rf'custom_{task}_r\d+', f'custom_{task}_tiny', leaf.read_text())
    path = tmp_path / 'mine.py'
    path.write_text(text.replace("'_base_/", "'mmcomformer::_base_/"))
    cfg = load_config(Request(config=str(path)), 1)
    assert cfg.model.backbone.depth == 18
    assert cfg.model.backbone.init_cfg is None
    assert cfg.train_cfg.max_iters == 400 * cfg.scenario.increments[1]
    assert cfg.optim_wrapper.type == 'OptimWrapper'


def test_config_of_the_page_on_smaller_runs(tmp_path):
    text = (CONFIGS.parent / 'docs' / 'smaller_and_faster.md').read_text(encoding='utf-8')
    path = tmp_path / 'my_pets.py'
    path.write_text(re.search(r'```python\n(.*?)```', text, re.DOTALL)[1])
    first, second = (load_config(Request(config=str(path)), step) for step in (0, 1))
    assert (first.train_cfg.max_iters, second.train_cfg.max_iters) == (500, 300)
    assert second.train_dataloader.dataset.pipeline[3].crop_size == (192, 192)
    assert second.work_dir == './work_dirs/my_pets/step1'


class TestMemory:
    """One top-level key gives the training data of any config a memory."""

    def memories(self, cfg):
        loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
        return [loader.dataset.get('memory') for loader in loaders]

    @pytest.mark.parametrize(
        ('name', 'step', 'size'),
        [('comformer_ade_100-50', 0, 300), ('finetune_shapes_semantic_6-3', 1, 0.05)],
    )
    def test_an_option(self, name, step, size):
        cfg = load(CONFIGS / f'{name}.py', step, **{'memory.size': size})
        expected = {'type': 'ClassProportionalMemory', 'size': size}
        assert self.memories(cfg) == [expected, None, None]
        assert self.memories(load(CONFIGS / f'{name}.py', step)) == [None] * 3

    def test_a_leaf_and_what_inherits_it(self, mine, tmp_path):
        text = "memory = dict(type='RandomMemory', size=40, seed=1)"
        cfg = mine(text, 1, SHAPES)
        assert self.memories(cfg) == [{'type': 'RandomMemory', 'size': 40, 'seed': 1}, None, None]
        base = tmp_path / 'mine.py'
        other = mine('memory = dict(size=50)', 1, base, 'other')
        assert self.memories(other)[0] == {'type': 'RandomMemory', 'size': 50, 'seed': 1}
        other = mine('memory = dict(size=50)', 1, base, 'other', **{'memory.seed': 7})
        assert self.memories(other)[0] == {'type': 'RandomMemory', 'size': 50, 'seed': 7}
        without = mine('memory = None', 1, base, 'without')
        assert self.memories(without) == [None] * 3

    def test_a_method_that_has_one(self, tmp_path):
        (tmp_path / 'replaying.py').write_text(
            "custom_hooks = [dict(type='PseudoLabelHook'), dict(type='SummaryHook', method='x')]\n"
            "method = dict(key='replaying', config=dict(memory=dict(size=30)))\n"
        )
        leaf = tmp_path / 'replaying_leaf.py'
        text = SHAPES.read_text().replace('_base_/', f'{CONFIGS}/_base_/', 1)
        leaf.write_text(text.replace('_base_/methods/{{$METHOD:comformer}}.py', 'replaying.py'))
        expected = {'type': 'ClassProportionalMemory', 'size': 30}
        assert self.memories(load(leaf, 1)) == [expected, None, None]
        assert self.memories(load(leaf, 1, **{'memory.size': 7}))[0].size == 7

    def test_inside_a_wrapper(self, mine):
        text = (
            'memory = dict(size=9)\n'
            "train_dataloader = dict(dataset=dict(_delete_=True, type='RepeatDataset', times=2, "
            'dataset=_base_.train_dataloader.dataset))'
        )
        cfg = mine(text, 1, SHAPES)
        assert cfg.train_dataloader.dataset.dataset.memory.size == 9

    def test_is_read_or_refused(self, mine):
        """Several datasets at once, each of which has to be given its own."""
        text = (
            'memory = dict(size=9)\n'
            "train_dataloader = dict(dataset=dict(_delete_=True, type='ConcatDataset', "
            'datasets=[{}_base_.train_dataloader.dataset{}]))'
        )
        with pytest.raises(ValueError, match='memory: nothing reads it here, .*into each of them'):
            mine(text.format('', ''), 1, SHAPES)
        given = text.format('dict(', ", memory=dict(type='RandomMemory', size=9))").replace(
            'dict(_base_', 'dict(**_base_'
        )
        datasets = mine(given, 1, SHAPES).train_dataloader.dataset.datasets
        assert datasets[0].memory.size == 9

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'memory': 300}, r'memory: expected a dict such as dict\(size=300\), .* got 300'),
            ({'memory.sise': 3}, r'memory\.sise: .* no such argument; did you mean size'),
            ({'memory.size': 'all'}, r"memory\.size: expected a number .* got 'all'"),
            ({'memory.type': 'RandomMemmory'}, r'memory\.type: .* did you mean RandomMemory'),
            ({'memmory.size': 3}, 'did you mean memory'),
        ],
    )
    def test_wrong(self, options, message):
        with pytest.raises((ValueError, TypeError), match=message):
            load(SHAPES, 1, **options)


class TestAllAtOnce:
    """Joint training: one step with the classes and the iterations of all."""

    @pytest.mark.parametrize('method', ['joint', 'mask2former'])
    def test_chosen_for_any_config(self, monkeypatch, method):
        monkeypatch.setenv('METHOD', method)
        cfg = load(SHAPES)
        scenario = scenario_of(cfg)
        assert scenario.increments == (12,)
        assert all(tuple(found.increments) == (12,) for _, found in find_scenarios(cfg))
        assert iterations(cfg) == (2000, 2000, 2000)
        assert cfg.val_evaluator.num_base == cfg.test_evaluator.num_base == 6
        assert cfg.work_dir == f'./work_dirs/comformer_shapes_6-3_{method}/step0'
        check_derived(cfg)
        with pytest.raises(ValueError, match='step'):
            load(SHAPES, step=1)

    def test_iterations_per_class(self, monkeypatch):
        monkeypatch.setenv('METHOD', 'joint')
        cfg = load(CONFIGS / 'comformer_ade_instances_50-10.py')
        assert cfg.train_cfg.max_iters == 160000 + 50 * 400
        assert cfg.val_evaluator.num_base == 50

    def test_what_changes_later(self, mine):
        joint = CONFIGS / 'joint_shapes_6-3.py'
        options = {'schedule.base_iters': 100, 'schedule.later_iters': 20}
        assert iterations(load(joint, **options))[0] == 140
        cfg = mine('scenario = dict(increments=[4] + [1] * 8)', base=joint)
        assert (cfg.scenario.increments, cfg.val_evaluator.num_base) == ([12], 4)
        assert cfg.train_cfg.max_iters == 1000 + 8 * 500
        cfg = load(joint, **{'scenario.increments': [12], 'val_evaluator.num_base': 2})
        assert iterations(cfg)[0] == 2000
        assert (cfg.val_evaluator.num_base, cfg.test_evaluator.num_base) == (2, 6)

    def test_several_metrics(self, mine, monkeypatch):
        monkeypatch.setenv('METHOD', 'joint')
        text = "_dump = dict(type='DumpResults', out_file_path='a.pkl')\n"
        text += 'val_evaluator = [_dump, _base_.val_evaluator]'
        text += "\ntest_evaluator = dict(_delete_=True, type='DumpResults', out_file_path='b.pkl')"
        leaf = SHAPES.read_text().replace("'_base_/", f"'{CONFIGS.as_posix()}/_base_/")
        text = leaf.replace('complete(', f'{text}\ncomplete(')
        path = mine('', name='whole', base=SHAPES).filename
        Path(path).write_text(text)
        cfg = load(path)
        assert [metric.get('num_base') for metric in cfg.val_evaluator] == [None, 6]
        assert 'num_base' not in cfg.test_evaluator

    def test_one_step_to_begin_with(self, mine):
        text = 'scenario = dict(increments=[12])'
        cfg = mine(text, base=CONFIGS / 'joint_shapes_6-3.py')
        # the steps of the config that was inherited, in one
        assert (cfg.train_cfg.max_iters, cfg.val_evaluator.num_base) == (2000, 6)
        # other classes, which are one step of their own
        text = 'scenario = dict(class_order=_base_.scenario.class_order[:10], increments=[10])'
        cfg = mine(text, base=CONFIGS / 'joint_shapes_6-3.py')
        assert (cfg.train_cfg.max_iters, cfg.val_evaluator.num_base) == (1000, None)

    @pytest.mark.parametrize(
        'method', ['balconpas_replay', 'eclipse', 'finetune', 'ours_replay', 'simcis']
    )
    def test_other_methods_keep_their_steps(self, monkeypatch, method):
        monkeypatch.setenv('METHOD', method)
        assert scenario_of(load(SHAPES)).increments == (6, 3, 3)
