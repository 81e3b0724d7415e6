"""Let wide tables scroll within their own frame, so that pages never scroll sideways.

Lines break in tables of prose, and not in tables of figures.
"""

from docutils import nodes

LONGEST_FIGURE = 40  # characters; an entry that has more is prose


def wrap_tables(app, doctree, name):
    for table in list(doctree.findall(nodes.table)):
        if "scrolling-table" in getattr(table.parent, "attributes", {}).get("classes", ()):
            continue
        longest = max(len(entry.astext()) for entry in table.findall(nodes.entry))
        prose = ["prose"] if longest > LONGEST_FIGURE else []
        frame = nodes.container(classes=["scrolling-table", *prose])
        table.replace_self(frame)
        frame += table


def setup(app):
    app.connect("doctree-resolved", wrap_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
