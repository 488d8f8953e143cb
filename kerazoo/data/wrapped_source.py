"""WrappedSource: the base of sources that change the examples of another source."""

from kerazoo.data.data_source import DataSource


class WrappedSource(DataSource):
    """A source that reads another one. A subclass implements `chunks` and `fingerprint`.

    Args:
        source: `DataSource`. What is read.
    """

    def __init__(self, source: DataSource):
        self.source = source
        self.rows_continue = source.rows_continue

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of every chunk."""
        return self.source.columns

    def check(self) -> None:
        """Checks the source."""
        self.source.check()

    def splits(self) -> tuple[str, ...]:
        """Returns the splits of the source."""
        return self.source.splits()

    def class_names(self, column: str) -> list[str] | None:
        """Returns the names of the classes of a column as the source declares them."""
        return self.source.class_names(column)

    def resolved_columns(self) -> list | None:
        """Returns which columns of the files the source reads."""
        return self.source.resolved_columns()

    def use_columns(self, columns: list) -> None:
        """Reads the columns that `resolved_columns` returned."""
        self.source.use_columns(columns)
