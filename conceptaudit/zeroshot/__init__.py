"""Zero-shot accuracy, class by class: evaluate models, and read other tools' results."""
