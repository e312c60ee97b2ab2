# upper bound with sigmoid masks for comformer_shapes_4-1.py: all classes at once, as many
# iterations as its steps have together
_base_ = ['_base_/shapes_panoptic_tiny.py', '_base_/methods/{{$METHOD:mask2former}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[12])
schedule = dict(base_iters=2600)
# the classes that comformer_shapes_4-1.py learns at step 0 count as base
val_evaluator = test_evaluator = dict(num_base=4)
complete(globals(), '{{fileBasenameNoExtension}}')
