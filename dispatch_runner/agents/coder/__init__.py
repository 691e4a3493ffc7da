"""The role `coder`: from a contract description to an ONEX node module that passes its gates."""
