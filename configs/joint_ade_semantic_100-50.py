# upper bound for comformer_ade_semantic_100-50.py: all classes at once, as many
# iterations as its steps have together
_base_ = ['_base_/ade20k_semantic_r101.py', '_base_/methods/{{$METHOD:joint}}.py']
from mmcomformer.recipe import complete

scenario = dict(increments=[150])
schedule = dict(base_iters=180000)
# the classes that comformer_ade_semantic_100-50.py learns at step 0 count as base
val_evaluator = test_evaluator = dict(num_base=100)
complete(globals(), '{{fileBasenameNoExtension}}')
