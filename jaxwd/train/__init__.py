"""`jaxwd train`: one training, long or short, in one process or many."""
