"""Lists and tables written on other systems: separators, letter case, line ends, encodings, floats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.data.datasets.csv_table_cases import COLUMNS, EXPECTED, ROWS, contents, place_images
from tests.unit.data.datasets.llcm_cases import TEST, TN
from tests.unit.data.datasets.llcm_cases import TV as LLCM_TV
from tsme.data.datasets.csv_table import read_csv_table
from tsme.data.datasets.folder import whole_number
from tsme.data.datasets.llcm import read_llcm
from tsme.data.datasets.regdb import read_regdb
from tsme.data.types import ImageList, Trial
from tsme.errors import UserError

TV, EV = "idx/train_visible_1.txt", "idx/test_visible_1.txt"
Rewrite = Callable[[str], str | bytes]


def windows_lines(text: str) -> bytes:
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()


REWRITES: dict[str, Rewrite] = {
    "backslashes": lambda text: text.replace("/", "\\"),
    "./ before each path": lambda text: "".join(f"./{line}\n" for line in text.splitlines()),
    "backslashes after .": lambda text: "".join(
        ".\\" + line.replace("/", "\\") + "\n" for line in text.splitlines()
    ),
    "lower case": str.lower,
    "upper case": str.upper,
    "tabs": lambda text: text.replace(" ", "\t"),
    "commas": lambda text: text.replace(" ", ","),
    "Windows line ends": windows_lines,
    "classic Mac line ends": lambda text: text.replace("\n", "\r").encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big-endian": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "labels as floats": lambda text: "".join(f"{line}.0\n" for line in text.splitlines()),
}


def rewrite(file: Path, change: Rewrite) -> None:
    content = change(file.read_text())
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def listed(trial: Trial) -> list[tuple[tuple[str, ...], list[int], list[int]]]:
    """Paths, identities and cameras of each list of a trial."""

    def values(images: ImageList) -> tuple[tuple[str, ...], list[int], list[int]]:
        return images.paths, images.identities.tolist(), images.cameras.tolist()

    splits = (trial.train, trial.test)
    return [values(images) for split in splits for images in (split.visible, split.infrared)]


@pytest.mark.parametrize("change", REWRITES.values(), ids=REWRITES.keys())
def test_lists_of_regdb(regdb: Path, change: Rewrite) -> None:
    expected = read_regdb(regdb)
    for file in (regdb / "idx").iterdir():
        rewrite(file, change)
    found = read_regdb(regdb)
    assert found.faults == () and found.warnings == expected.warnings
    assert [listed(trial) for trial in found.trials.values()] == [
        listed(trial) for trial in expected.trials.values()
    ]


@pytest.mark.parametrize("change", REWRITES.values(), ids=REWRITES.keys())
def test_lists_of_llcm(llcm: Path, change: Rewrite) -> None:
    expected = listed(read_llcm(llcm).trial(1))
    for name in (LLCM_TV, TN):
        rewrite(llcm / name, change)
    (llcm / TEST).write_text("30.0,8.0\r")
    assert listed(read_llcm(llcm).trial(1)) == expected


def rename(root: Path, change: Callable[[str], str]) -> None:
    """Rename everything below a folder, deepest first."""
    for path in sorted(root.rglob("*"), reverse=True):
        path.rename(path.with_name(change(path.name)))


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_files_and_folders_in_another_letter_case(
    regdb: Path, llcm: Path, change: Callable[[str], str]
) -> None:
    before = read_regdb(regdb).trial(1)
    rename(regdb, change)
    after = read_regdb(regdb)
    assert after.faults == () and len(after.lists) == 8
    assert after.trial(1).test.visible.paths == tuple(map(change, before.test.visible.paths))
    assert after.trial(1).train.identities == before.train.identities
    assert all((regdb / path).is_file() for path in after.trial(1).train.infrared.paths)
    expected = listed(read_llcm(llcm).trial(1))
    rename(llcm, change)
    found = listed(read_llcm(llcm).trial(1))
    for (paths, *numbers), (original, *originals) in zip(found, expected, strict=True):
        assert paths == tuple(map(change, original)) and numbers == originals


def test_a_name_that_two_files_match_is_missing(regdb: Path) -> None:
    """On disk are A.bmp and a.BMP: neither can be chosen for a.bmp."""
    image = regdb / "Visible/285/male_back_v_00001_285.bmp"
    image.with_suffix(".BMP").write_bytes(image.read_bytes())
    image.rename(image.with_name(image.name.upper()))
    (fault,) = (fault for fault in read_regdb(regdb).faults if fault.file == TV)
    assert fault.line == 1 and "is missing" in fault.message


def test_one_file_named_in_two_letter_cases_is_listed_twice(regdb: Path) -> None:
    lines = (regdb / TV).read_text().splitlines()
    (regdb / TV).write_text("\n".join([*lines, lines[0].lower()]))
    (fault,) = (fault for fault in read_regdb(regdb).faults if fault.file == TV)
    assert fault.line == len(lines) + 1 and "already on line 1" in fault.message


def table(rows: list[tuple[str, ...]], separator: str = ",", header: tuple[str, ...] = COLUMNS) -> str:
    return "".join(separator.join(row) + "\n" for row in [header, *rows])


FLOATS = [(path, f"{identity}.0", f"{camera}.0", *rest) for path, identity, camera, *rest in ROWS]
TABLES: dict[str, str | bytes] = {
    "semicolons": table(ROWS, ";"),
    "tabs": table(ROWS, "\t"),
    "backslashes": table([(row[0].replace("/", "\\"), *row[1:]) for row in ROWS]),
    "./ before each path": table([("./" + row[0], *row[1:]) for row in ROWS]),
    "paths in capitals": table([(row[0].upper(), *row[1:]) for row in ROWS]),
    "words in capitals": table([(*row[:3], row[3].title(), row[4].upper()) for row in ROWS]),
    "columns in capitals": table(ROWS, header=tuple(name.title() for name in COLUMNS)),
    "floats": table(FLOATS),
    "some floats": table([FLOATS[0], *ROWS[1:]]),
    "Windows": windows_lines(table(ROWS)),
    "classic Mac line ends": table(ROWS).replace("\n", "\r").encode(),
    "UTF-16": table(ROWS, "\t").encode("utf-16"),
}


@pytest.mark.parametrize("content", TABLES.values(), ids=TABLES.keys())
def test_tables(tmp_path: Path, content: str | bytes) -> None:
    place_images(tmp_path)
    file = tmp_path / "images.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    dataset = read_csv_table(file)
    assert (dataset.faults, dataset.warnings) == ((), ())
    assert contents(dataset.trial(1)) == EXPECTED


def test_another_encoding_is_refused_with_what_to_do(tmp_path: Path, regdb: Path) -> None:
    file = tmp_path / "images.csv"
    file.write_bytes(table([("é.jpg", *ROWS[0][1:])]).encode("cp1252"))
    with pytest.raises(UserError, match="not UTF-8 or UTF-16 text; save it as CSV in UTF-8"):
        read_csv_table(file)
    (regdb / EV).write_bytes("Visible/8/é_8.bmp 0\n".encode("cp1252"))
    with pytest.raises(UserError, match=f"{EV}: file is not UTF-8 or UTF-16 text; save it as UTF-8"):
        read_regdb(regdb).trial(1)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("7", 7), ("007", 7), ("7.0", 7), ("7.", 7), ("0", 0), ("0.00", 0)),
        *((text, None) for text in ("", "7.5", "-7", "1e3", "7,0", "9" * 10, "٧")),
    ],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text) == number
