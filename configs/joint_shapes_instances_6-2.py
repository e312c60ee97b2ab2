# upper bound for comformer_shapes_instances_6-2.py: all classes at once, as many
# iterations as its steps have together
_base_ = ['_base_/shapes_instances_tiny.py', '_base_/methods/{{$METHOD:joint}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[8])
schedule = dict(base_iters=1500)
# the classes that comformer_shapes_instances_6-2.py learns at step 0 count as base
val_evaluator = test_evaluator = dict(num_base=6)
complete(globals(), '{{fileBasenameNoExtension}}')
