"""Everything before the model file: data set, nets, fit, evaluation, export."""
