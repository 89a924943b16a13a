"""Two small tables that papers of this part share: red wine and abalone, as plain numbers.

Both are data of the UCI Machine Learning Repository under CC BY 4.0. The files beside this module were
extracted from a mirror of the originals; nothing but the columns named below was kept.

- Red wine: P. Cortez, A. Cerdeira, F. Almeida, T. Matos and J. Reis (2009), Wine Quality,
  doi.org/10.24432/C56S3T.
- Abalone: W. Nash, T. Sellers, S. Talbot, A. Cawthorn and W. Ford (1994), Abalone,
  doi.org/10.24432/C55C7W.
"""

from __future__ import annotations

from importlib import resources

import pandas as pd


def red_wine() -> pd.DataFrame:
    """Physico-chemical measurements of 1599 Portuguese red wines.

    Returns
    -------
    DataFrame of shape (1599, 11)
        fixed_acidity, volatile_acidity, citric_acid, residual_sugar, chlorides,
        sulphates (g/dm³), density (g/cm³), free_sulfur_dioxide, total_sulfur_dioxide (mg/dm³), pH,
        alcohol (% by volume). The quality score is not part of it. 240 rows repeat an earlier one exactly, as
        in the original.

    Examples
    --------
    >>> red_wine().iloc[0, :3].tolist()
    [7.4, 0.7, 0.0]
    """
    return _read("red_wine.csv.gz")


def abalone() -> pd.DataFrame:
    """Sex and seven body measurements of 4174 abalones (4177 in the original; three are not in our source).

    Returns
    -------
    DataFrame of shape (4174, 8)
        sex (``"M"``, ``"F"``, ``"I"`` for infant); length, diameter, height (mm/200); whole_weight,
        shucked_weight, viscera_weight, shell_weight (g/200). Two rows have height 0, as in the original:
        drop them before taking logarithms. The number of rings is not part of it.

    Examples
    --------
    >>> abalone().sex.value_counts().to_dict()
    {'M': 1526, 'I': 1341, 'F': 1307}
    """
    return _read("abalone.csv.gz")


def _read(name: str) -> pd.DataFrame:
    with resources.files(__package__).joinpath(name).open("rb") as file:
        return pd.read_csv(file, compression="gzip")
