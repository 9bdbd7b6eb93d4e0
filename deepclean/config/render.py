"""The configuration as text: resolved, for people and for `load`; and its JSON schema."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from deepclean.config.checked import Config
from deepclean.config.names import EXTENDS


class _Representer(SafeRepresenter):
    """Writes lists of numbers in one line, everything else line by line, keys in their order."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sort_base_mapping_type_on_output = False

    def represent_sequence(self, tag: Any, sequence: Any, flow_style: Any = None) -> Any:
        flat = all(isinstance(item, float | int) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=flat)

    def represent_mapping(self, tag: Any, mapping: Any, flow_style: Any = None) -> Any:
        return super().represent_mapping(tag, mapping, flow_style=False)

    def represent_text(self, text: str) -> Any:
        """Return `text` as a node, escaped where line ends or control characters are in it."""
        return self.represent_scalar(
            "tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"'
        )


_Representer.add_representer(str, _Representer.represent_text)


def to_yaml(config: Config) -> str:
    """Return the resolved configuration as YAML; loading that gives an equal one."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.width = 100
    text = io.StringIO()
    yaml.dump(config.model_dump(mode="json"), text)
    return text.getvalue()


def flat(config: Config) -> dict[str, Any]:
    """Return the values of a configuration, as in JSON, by their keys: `couplings.60Hz.wait`."""

    def leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                yield from leaves(inner, f"{key}.{name}" if key else str(name))
        else:
            yield key, value

    return dict(leaves(config.model_dump(mode="json"), ""))


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file, for editors that complete keys.

    No key is required in it, since the file that another one extends may hold the rest.
    """
    schema = Config.model_json_schema()
    for section in (schema, *schema["$defs"].values()):
        section.pop("required", None)
    schema["properties"][EXTENDS] = {
        "type": "string",
        "description": "The file that this one starts from, relative to this one; "
        "`shipped:H1.yaml` is one that comes with the software.",
    }
    coupling = schema["$defs"]["CouplingConfig"]["properties"]
    coupling["band"] = {**coupling["bands"]["items"], "description": "Short for a single band."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
