"""Large letters, five pixels high: two terminal rows per pixel pair, or two cells per pixel."""

# Strips of letters, five rows each, under the characters that they draw; "#" is a lit pixel.
_SHEET = """
a    b    c    d    e    f    g    h    i j   k    l    m     n    o    p
.##. ###. .### ###. #### #### .### #..# # ..# #..# #... #...# #..# .##. ###.
#..# #..# #... #..# #... #... #... #..# # ..# #.#. #... ##.## ##.# #..# #..#
#### ###. #... #..# ###. ###. #.## #### # ..# ##.. #... #.#.# #.## #..# ###.
#..# #..# #... #..# #... #... #..# #..# # ..# #.#. #... #...# #..# #..# #...
#..# ###. .### ###. #### #... .### #..# # ##. #..# #### #...# #..# .##. #...

q    r    s    t     u    v     w     x     y     z    -   ?    .
.##. ###. .### ##### #..# #...# #...# #...# #...# #### ... ###. .
#..# #..# #... ..#.. #..# #...# #...# .#.#. .#.#. ...# ... ...# .
#..# ###. .##. ..#.. #..# #...# #.#.# ..#.. ..#.. .##. ### .##. .
#.#. #.#. ...# ..#.. #..# .#.#. ##.## .#.#. ..#.. #... ... .... .
.#.# #..# ###. ..#.. .##. ..#.. #...# #...# ..#.. #### ... .#.. #
"""
_GLYPHS = {" ": ("..",) * 5} | {
    character: glyph
    for strip in _SHEET.split("\n\n")
    for character, *glyph in zip(*(row.split() for row in strip.strip().split("\n")), strict=True)
}
_HALVES = {"..": " ", "#.": "▀", ".#": "▄", "##": "█"}


def letters(text: str, width: int, *, large: bool) -> list[str] | None:
    """Draw a word, three rows high, or five if it shall be large.

    Returns
    -------
    list of str or None
        One string per row; None if it does not fit into ``width`` or has other characters than
        letters, hyphen, question mark, period and blank.
    """
    glyphs = [_GLYPHS.get(character) for character in text.lower()]
    if None in glyphs:
        return None
    pixels = [".".join(row) for row in zip(*filter(None, glyphs), strict=True)]
    if large:
        rows = [row.replace("#", "██").replace(".", "  ") for row in pixels]
    else:
        pixels.append("." * len(pixels[0]))
        pairs = zip(pixels[::2], pixels[1::2], strict=True)
        rows = ["".join(_HALVES[a + b] for a, b in zip(*pair, strict=True)) for pair in pairs]
    return rows if len(rows[0]) <= width else None
