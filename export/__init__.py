"""From a checkpoint to everything that runs: ONNX, TFLite and C, proven equal to one another.

One file per idea: `network` folds the trained weights and walks the graph once for every writer;
`calibrate` and `quantised` choose the integers; `integer` is their exact arithmetic in NumPy;
`onnx_graph`, `tflite` and `c_source` write; `verify` refuses what does not agree.
"""
