"""Large letters from half blocks."""

_GLYPHS = {
    "a": ".##. #..# #### #..# #..#",
    "b": "###. #..# ###. #..# ###.",
    "c": ".### #... #... #... .###",
    "d": "###. #..# #..# #..# ###.",
    "e": "#### #... ###. #... ####",
    "f": "#### #... ###. #... #...",
    "g": ".### #... #.## #..# .###",
    "h": "#..# #..# #### #..# #..#",
    "i": "# # # # #",
    "j": "..# ..# ..# ..# ##.",
    "k": "#..# #.#. ##.. #.#. #..#",
    "l": "#... #... #... #... ####",
    "m": "#...# ##.## #.#.# #...# #...#",
    "n": "#..# ##.# #.## #..# #..#",
    "o": ".##. #..# #..# #..# .##.",
    "p": "###. #..# ###. #... #...",
    "q": ".##. #..# #..# #.#. .#.#",
    "r": "###. #..# ###. #.#. #..#",
    "s": ".### #... .##. ...# ###.",
    "t": "##### ..#.. ..#.. ..#.. ..#..",
    "u": "#..# #..# #..# #..# .##.",
    "v": "#...# #...# #...# .#.#. ..#..",
    "w": "#...# #...# #.#.# ##.## #...#",
    "x": "#...# .#.#. ..#.. .#.#. #...#",
    "y": "#...# .#.#. ..#.. ..#.. ..#..",
    "z": "#### ...# .##. #... ####",
    "-": "... ... ### ... ...",
    "?": "###. ...# .##. .... .#..",
    " ": ".. .. .. .. ..",
    ".": ". . . . #",
}
_HALVES = {"..": " ", "#.": "▀", ".#": "▄", "##": "█"}
ROWS = 3
"""Height of small letters in terminal rows; large ones have five."""


def letters(text: str, width: int, *, large: bool) -> list[str] | None:
    """Draw a word, three rows high, or five if it shall be large.

    Returns
    -------
    list of str or None
        One string per row; None if it does not fit into ``width`` or has other characters than
        letters, hyphen, period and blank.
    """
    glyphs = [_GLYPHS.get(character) for character in text.lower()]
    if None in glyphs:
        return None
    bitmap = [".".join(row) for row in zip(*(str(g).split() for g in glyphs), strict=True)]
    if large:
        rows = [row.replace("#", "██").replace(".", "  ") for row in bitmap]
    else:
        bitmap.append("." * len(bitmap[0]))
        pairs = zip(bitmap[::2], bitmap[1::2], strict=True)
        rows = ["".join(_HALVES[a + b] for a, b in zip(*pair, strict=True)) for pair in pairs]
    return rows if len(rows[0]) <= width else None
