use tract_onnx as _;
