_base_ = './ade20k_classes.py'

scenario = dict(increments=[100] + [5] * 10)
