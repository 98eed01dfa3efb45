"""config.pbtxt to `ModelConfig`: `engines.config.pbtxt.parse`."""
