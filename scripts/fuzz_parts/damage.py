"""Strategies that damage sound files: bytes turned, cut out, doubled, swapped in."""

from hypothesis import strategies as st

WHERE = st.floats(0, 1, exclude_max=True)
ODD = (b"\0", b"\xff" * 8, b"\x7f\xff\xff\xff", b"\0" * 64, b"<", b"{", b"9" * 30)


def damaged(whole: bytes, most: int = 4) -> st.SearchStrategy[bytes]:
    """Return strategies of the bytes with a few places damaged, or none."""
    change = st.tuples(
        st.sampled_from(["turn", "cut", "double", "put", "end"]),
        WHERE,
        st.integers(0, 255),
        st.sampled_from(ODD),
    )

    def apply(changes: list) -> bytes:
        data = whole
        for how, where, number, odd in changes:
            at = int(where * len(data))
            data = {
                "turn": data[:at] + bytes([number]) + data[at + 1 :],
                "cut": data[:at] + data[at + number :],
                "double": data[:at] + data[at : at + number] + data[at:],
                "put": data[:at] + odd + data[at + len(odd) :],
                "end": data[:at],
            }[how]
        return data

    return st.lists(change, max_size=most).map(apply)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "sgd", "adam", "[/]", "../../x", "<b>", "\udcff", "9" * 40]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "strength", "where", ""]), inner)
    ),
    max_leaves=6,
)
"""Any JSON, strange names among it."""
