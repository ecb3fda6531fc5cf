"""Models of trees in the formats of other libraries: LightGBM's text, XGBoost's JSON, ONNX."""
