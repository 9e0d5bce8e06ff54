"""Images to logits: the queue, the threads, and the model that is served."""
