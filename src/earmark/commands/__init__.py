"""The subcommands of `earmark`: each module adds its flags to a parser and runs."""
