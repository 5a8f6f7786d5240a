"""Label Studio: tasks with boxes, polygons and relations, in and out."""
