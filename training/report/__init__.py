"""What a person looks at: report, notebook, TensorBoard, contact sheet."""
