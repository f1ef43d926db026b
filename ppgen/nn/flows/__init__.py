"""Steps of normalizing flows with their networks: modules that put a flow upon any law."""
