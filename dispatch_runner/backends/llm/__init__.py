"""A bare model with file tools and MCP servers, by `pydantic_ai`."""
