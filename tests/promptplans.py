"""Small prompt plans for tests."""

from typing import Any

from chambit.generate.prompted.plan import PromptPlan

FACTORS: dict[str, Any] = {
    "view": {"levels": {"PA": "posteroanterior", "AP": "anteroposterior", "lateral": "lateral"}},
    "posture": {"levels": {"standing": "standing", "supine": "supine"}},
    "sex": {"levels": {"F": "woman", "M": "man"}, "shares": {"F": 0.25, "M": 0.75}},
    "age": {"levels": {"20-39": 30, "80+": 85}},
    "disease": {"levels": {"normal": "healthy lungs", "pneumonia": "pneumonia"}},
}
NEVER = [{"view": ["lateral"], "posture": ["supine"]}]


def given(**changes: Any) -> dict[str, Any]:
    """A plan as YAML gives it; `changes` replace whole entries."""
    plan: dict[str, Any] = {
        "title": "Chest radiographs",
        "seed": 3,
        "label": "disease",
        "classes": {"normal": 6, "pneumonia": 6},
        "factors": FACTORS,
        "never": NEVER,
        "template": "{view} chest radiograph of a {age} year old {sex}, {posture}, {disease}. No text.",
        "provider": {"name": "fake", "model": "phantom-image-1", "options": {"pixels": 128, "busy_every": 0}},
        "price": {
            "input_per_million": 0.3,
            "output_per_million": 30.0,
            "tokens_in": 40,
            "tokens_out": 1290,
            "as_of": "2026-01-01",
            "source": "a test",
        },
        "limits": {"cost": 5.0, "per_minute": 60000, "first_wait": 0.01, "instead": 0},
    }
    return plan | changes


def made(**changes: Any) -> PromptPlan:
    """The plan itself."""
    return PromptPlan.model_validate(given(**changes))
