"""Writers of node modules, one per node type."""
