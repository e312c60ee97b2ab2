# all classes in one step
_base_ = 'shapes_6-3.py'

scenario = dict(increments=[12])
