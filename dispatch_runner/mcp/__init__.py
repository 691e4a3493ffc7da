"""Model Context Protocol: tools that we serve, and servers whose tools we use."""
