"""The environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cel_expr_python import cel

EXTENSIONS = ("two-var-comprehensions", "bindings", "optional", "math", "strings", "encoders")


def new_environment(
    variables: Mapping[str, cel.Type],
    *,
    container: str = "",
    functions: Sequence[cel.FunctionDecl] = (),
    macros: bool = True,
    extensions: Sequence[str] = EXTENSIONS,
    pool: object = None,
) -> cel.Env:
    """The checker's own environment, for variables of any CEL type."""
    lines = ["extensions:", *(f"- name: {name}" for name in extensions)] if macros else []
    if not macros:
        lines += ["stdlib:", "  disable_macros: true"]
    return cel.NewEnv(
        descriptor_pool=pool,
        config=cel.NewEnvConfigFromYaml("\n".join(lines)),
        variables=dict(variables),
        functions=list(functions),
        container=container or None,
    )
