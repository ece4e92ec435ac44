"""The figure class of all pictures; imported only when one is drawn, since it needs matplotlib."""

import base64
import io

from matplotlib.figure import Figure

__all__ = ["Chart"]


class Chart(Figure):
    """A matplotlib figure that belongs to no global state, and that notebooks show by itself."""

    def _repr_html_(self) -> str:
        """Return the picture as HTML that needs no other file."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        data = base64.b64encode(buffer.getvalue()).decode()
        return f'<img style="max-width: 100%" src="data:image/png;base64,{data}">'
