"""What Triton's clients expect of a server: a repository of small models, the calls of its examples, perf_analyzer."""
