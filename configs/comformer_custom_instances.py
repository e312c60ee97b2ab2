# A template for one's own instances: docs/custom_dataset.md, section 8
# or custom_instances_tiny.py, a model for a CPU
_base_ = ['_base_/custom_instances_r50.py', '_base_/methods/{{$METHOD:comformer}}.py']
from mmcomformer.recipe import complete

# edit these
data_root = 'data/pets/'
scenario = dict(
    thing_classes=['cat', 'dog', 'horse'],
    class_order=['cat', 'dog', 'horse'],
    increments=[2, 1],
)
image_size = 640
schedule = dict(base_iters=20000, iters_per_class=400)
complete(globals(), '{{fileBasenameNoExtension}}')
