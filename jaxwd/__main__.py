"""`python -m jaxwd` is the `jaxwd` command."""

from jaxwd.cli import main

raise SystemExit(main())
