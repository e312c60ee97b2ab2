"""A lookup that finds nothing imports the components, here a module that stands for them."""

import sys
import threading

import pytest
from mmengine.registry import Registry

from mmcomformer import on_demand


class Tree:
    """A root registry and two generations below it, as mmengine's, mmdet's and a user's."""

    def __init__(self):
        self.root = Registry('thing', scope='root', locations=['json'])
        self.child = Registry('thing', scope='child', parent=self.root, locations=['json'])
        self.grandchild = Registry(
            'thing', scope='grandchild', parent=self.child, locations=['json']
        )

    def __iter__(self):
        return iter([self.root, self.child, self.grandchild])


@pytest.fixture
def tree(monkeypatch, tmp_path):
    """The tree; the module that registers in it can reach it as ``stand_in_tree.root``."""
    tree = Tree()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(on_demand, 'COMPONENTS', 'stand_in_components')
    monkeypatch.setitem(sys.modules, 'stand_in_tree', tree)
    monkeypatch.delitem(sys.modules, 'stand_in_components', raising=False)
    yield tree
    sys.modules.pop('stand_in_components', None)


@pytest.fixture
def components(tree, tmp_path):
    def write(code):
        (tmp_path / 'stand_in_components.py').write_text(
            f'from stand_in_tree import root, child\n{code}\n'
            '@root.register_module()\n'
            'class Late: pass\n'
        )

    write('')
    return write


@pytest.mark.usefixtures('components')
class TestLookup:
    @pytest.mark.parametrize('generation', [0, 1, 2])
    def test_any_registry_finds_what_the_import_registers(self, tree, generation):
        registry = list(tree)[generation]
        assert registry.get('Late').__name__ == 'Late'

    @pytest.mark.parametrize('name', ['Late', 'root.Late'])
    def test_in(self, tree, name):
        assert name in tree.child

    def test_build(self, tree):
        assert type(tree.grandchild.build({'type': 'Late'})).__name__ == 'Late'

    def test_nothing_is_imported_for_a_name_that_is_there(self, tree):
        tree.root.register_module(name='early', module=dict)
        assert tree.child.get('early') is dict
        assert 'stand_in_components' not in sys.modules

    def test_registering_imports_nothing(self, tree):
        tree.root.register_module(name='Other', module=dict)
        tree.child.register_module(name='Other', module=dict, force=True)
        assert 'stand_in_components' not in sys.modules

    def test_name_of_nobody(self, tree):
        assert tree.child.get('Nobody') is None
        with pytest.raises(KeyError, match='Nobody is not in the root::thing registry'):
            tree.root.build({'type': 'Nobody'})


class TestImport:
    def test_it_may_look_names_up_itself(self, tree, components):
        components('assert root.get("Late") is None\nassert "Nobody" not in child')
        assert tree.child.get('Late').__name__ == 'Late'

    def test_its_error_comes_out_and_it_is_tried_again(self, tree, components):
        components('raise ImportError("mmcomformer needs mmdet")')
        for _ in range(2):
            with pytest.raises(ImportError, match='mmcomformer needs mmdet'):
                tree.child.build({'type': 'Late'})

    def test_threads_wait_for_it(self, tree, components):
        components('import time; time.sleep(0.2)')
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(tree.child.get('Late'))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [item.__name__ for item in found] == ['Late'] * 4
