"""What several test folders share: `from support.model_server import ModelServer, text`."""
