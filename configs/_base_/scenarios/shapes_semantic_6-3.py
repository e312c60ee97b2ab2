# shapes_6-3.py without the difference between things and stuff
_base_ = 'shapes_6-3.py'

scenario = dict(
    thing_classes=[],
    stuff_classes=[*_base_.scenario.thing_classes, *_base_.scenario.stuff_classes],
)
