# upper bound for comformer_voc_15-5.py: all classes at once, as many
# iterations as its steps have together
_base_ = ['_base_/voc_semantic_r101.py', '_base_/methods/{{$METHOD:joint}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[20])
schedule = dict(base_iters=32000)
# the classes that comformer_voc_15-5.py learns at step 0 count as base
val_evaluator = test_evaluator = dict(num_base=15)
complete(globals(), '{{fileBasenameNoExtension}}')
