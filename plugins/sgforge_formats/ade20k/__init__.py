"""ADE20K with objects, parts and parts of parts."""
