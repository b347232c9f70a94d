"""Study files that come with the package: the demonstration and the template of `chambit init`."""

from pathlib import Path

DEMO = Path(__file__).parent / "demo.yaml"
TEMPLATE = Path(__file__).parent / "template.yaml"
