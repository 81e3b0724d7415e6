"""Records as a table in HTML, for notebooks."""

from html import escape


def as_html_table(records):
    """A table with a row for each of some dictionaries with the same keys."""
    head = "".join(f"<th>{escape(name)}</th>" for name in records[0]) if records else ""
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(str(value))}</td>' for value in record.values())}</tr>"
        for record in records
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
