# shapes_classes.py without the difference between things and stuff
_base_ = 'shapes_classes.py'

scenario = dict(
    thing_classes=[],
    stuff_classes=[*_base_.scenario.thing_classes, *_base_.scenario.stuff_classes],
)
