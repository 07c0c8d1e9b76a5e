"""Matrices as lists of rows."""

Matrix = list[list[float]]


def identity(size: int) -> Matrix:
    """Return the square matrix with ones on the diagonal and zeros elsewhere.

    >>> identity(2)
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return [[1.0 if row == column else 0.0 for column in range(size)] for row in range(size)]


def transpose(matrix: Matrix) -> Matrix:
    """Swap rows and columns.

    >>> transpose([[1, 2, 3], [4, 5, 6]])
    [[1, 4], [2, 5], [3, 6]]
    """
    return [list(column) for column in zip(*matrix, strict=True)]


def multiply(left: Matrix, right: Matrix) -> Matrix:
    """Multiply two matrices; raise ValueError where their sizes do not fit.

    >>> multiply([[1, 2], [3, 4]], [[5, 6], [7, 8]])
    [[19, 22], [43, 50]]
    """
    if left and len(left[0]) != len(right):
        raise ValueError(f"{len(left[0])} columns do not fit {len(right)} rows")
    columns = transpose(right)
    return [[sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in left]


def determinant(matrix: Matrix) -> float:
    """Return the determinant by elimination with the largest pivot first.

    >>> determinant([[2, 0], [1, 3]])
    6.0
    """
    rows = [[float(value) for value in row] for row in matrix]
    result = 1.0
    for place in range(len(rows)):
        pivot = max(range(place, len(rows)), key=lambda each: abs(rows[each][place]))
        if rows[pivot][place] == 0:
            return 0.0
        if pivot != place:
            rows[place], rows[pivot] = rows[pivot], rows[place]
            result = -result
        result *= rows[place][place]
        for below in range(place + 1, len(rows)):
            factor = rows[below][place] / rows[place][place]
            rows[below] = [value - factor * top for value, top in zip(rows[below], rows[place], strict=True)]
    return result
