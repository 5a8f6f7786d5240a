"""Item steps: images stream through components, answers are journalled, known ones are loaded."""
