_base_ = './ade20k_classes.py'

scenario = dict(increments=[50] + [10] * 10)
