"""Let wide tables scroll within their own frame, so that pages never scroll sideways."""

from docutils import nodes


def wrap_tables(app, doctree, name):
    for table in list(doctree.findall(nodes.table)):
        if "scrolling-table" in getattr(table.parent, "attributes", {}).get("classes", ()):
            continue
        frame = nodes.container(classes=["scrolling-table"])
        table.replace_self(frame)
        frame += table


def setup(app):
    app.connect("doctree-resolved", wrap_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
