"""What can be chosen in a session of the Agent Client Protocol: its mode and its model."""

from typing import Any, NamedTuple

from dispatch_runner.backends.shared.values import object_in, objects_in
from dispatch_runner.models import JsonObject


class Choice(NamedTuple):
    """Something of a session that can be chosen from a list: its mode or its model."""

    method: str
    parameters: JsonObject
    """Of the request that sets it, without the value."""
    key: str
    """Of the value."""
    current: Any
    names: dict[str, str]
    """By the value: what people call it."""

    def find(self, wanted: str) -> str | None:
        """The value that is meant by a value or a name."""
        plain = _plain(wanted)
        return next(
            (value for value, name in self.names.items() if plain in {_plain(value), _plain(name)}),
            None,
        )


def mode_choice(state: JsonObject, session: str) -> Choice | None:
    """The modes of a session, from what the agent answered when it was opened; null: none."""
    return _listed_modes(state, session) or _option(state, "mode", session)


def model_choice(state: JsonObject, session: str) -> Choice | None:
    """The models of a session; null: none are told."""
    return _listed_models(state, session) or _option(state, "model", session)


def _listed_modes(state: JsonObject, session: str) -> Choice | None:
    modes = object_in(state.get("modes"))
    names = _named(modes.get("availableModes"), "id")
    parameters = {"sessionId": session}
    current = modes.get("currentModeId")
    return Choice("session/set_mode", parameters, "modeId", current, names) if names else None


def _listed_models(state: JsonObject, session: str) -> Choice | None:
    """From before there were options of a session; still the way of some agents."""
    models = object_in(state.get("models"))
    names = _named(models.get("availableModels"), "modelId")
    parameters = {"sessionId": session}
    current = models.get("currentModelId")
    return Choice("session/set_model", parameters, "modelId", current, names) if names else None


def _option(state: JsonObject, category: str, session: str) -> Choice | None:
    for option in objects_in(state.get("configOptions")):
        if option.get("category") == category and option.get("type") == "select":
            entries = objects_in(option.get("options"))
            grouped = [each for entry in entries for each in objects_in(entry.get("options"))]
            names = _named(grouped or entries, "value")
            parameters = {"sessionId": session, "configId": option.get("id")}
            current = option.get("currentValue")
            return Choice("session/set_config_option", parameters, "value", current, names)
    return None


def _named(entries: Any, key: str) -> dict[str, str]:
    return {
        str(entry[key]): str(entry.get("name")) for entry in objects_in(entries) if key in entry
    }


def _plain(name: str) -> str:
    """Without what spellings differ in: `readOnly` is `read-only`."""
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
