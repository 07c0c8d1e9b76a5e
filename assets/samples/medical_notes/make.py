"""Writes train.jsonl, validation.jsonl and terms.json beside this file, the same bytes every time.

    python -m assets.samples.medical_notes.make

Notes, patients and plans are invented and no medical advice. Every fifth note or so opens with a made-up
name, a telephone number that is never given out and an address at example.com: something to mask.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from assets.samples.medical_notes.words import CASES, HISTORY, NAMES, OFTEN, SINCE, UNTIL, Case
from assets.samples.shared.grammar import Grammar, Row, distinct, write

TRAIN_ROWS, VALIDATION_ROWS = 180, 36
SUMMARISE = "Summarise this clinical note in plain sentences."
PLAN = "Write problem, medication, advice and follow-up of this note as a list."
LAYOUTS = (
    "{who} c/o {complaint} {since}. {history}. O/E: {finding}, {vitals}. Imp: {dx}. Rx {rx} - {advice}. {until}",
    "{who}, {history}, p/w {complaint} {since}. Exam: {vitals}; {finding}. Dx {dx}. Plan: {rx}; {advice}; {until}.",
    "S: {complaint} {since}, {history}. O: {who}, {vitals}, {finding}. A: {dx}. P: {rx}, {advice}, {until}",
    "{who}  - {complaint}, {since}\n{history}\n{vitals} / {finding}\n=> {dx}\n{rx}\n{advice}, {until}",
)
TERMS = {
    **OFTEN,
    "y/o": "year-old", "c/o": "complains of", "p/w": "presents with", "h/o": "history of", "s/p": "status post",
    "O/E": "on examination", "Imp": "impression", "Dx": "diagnosis", "Rx": "prescription", "f/u": "follow-up in",
    "RTC": "return to clinic in", "wk": "week", "wks": "weeks", "mo": "month", "mos": "months", "w/": "with",
    "w/o": "without", "pt": "patient", "tel.": "telephone", "BP": "blood pressure", "HR": "heart rate",
    "SOB": "shortness of breath", "HA": "headache", "N/V": "nausea and vomiting", "LBP": "low back pain",
    "CXR": "chest X-ray", "FBG": "fasting blood glucose", "UA": "urinalysis", "abd": "abdominal", "wt": "weight",
    "sx": "symptoms", "RLL": "right lower lobe", "CHF": "congestive heart failure", "DM2": "type 2 diabetes mellitus",
    "HTN": "hypertension", "CAP": "community-acquired pneumonia", "UTI": "urinary tract infection",
    "GERD": "gastro-oesophageal reflux disease", "MDD": "major depressive disorder", "CAD": "coronary artery disease",
    "COPD": "chronic obstructive pulmonary disease", "NKDA": "no known drug allergies", "TKR": "total knee replacement",
    "PMH": "past medical history", "SLR": "straight leg raise", "SI": "suicidal ideation", "ED": "emergency department",
    "PT": "physiotherapy", "exac": "exacerbation", "appy": "appendectomy", "bilat": "on both sides", "nl": "normal",
    "CVA": "costovertebral angle", "neg": "negative", "pos": "positive",
}  # fmt: skip


@dataclass(frozen=True)
class Note:
    """A note, and what a careful reader takes from it."""

    text: str
    summary: str
    plan: str


def make(seed: int = 59) -> tuple[list[Row], list[Row]]:
    """(train, validation); no note is in both."""
    grammar = Grammar(seed, {})
    rows = distinct(lambda: _row(grammar), TRAIN_ROWS + VALIDATION_ROWS, lambda row: row["input"])
    return rows[:TRAIN_ROWS], rows[TRAIN_ROWS:]


def terms() -> dict[str, object]:
    """What the notes' short forms stand for, and the names that no rule may change."""
    return {"abbreviations": TERMS, "drugs": sorted({drug for case in CASES for drug, _, _ in case.drugs})}


def _row(grammar: Grammar) -> Row:
    note = _note(grammar, CASES[int(grammar.deal("case", [str(place) for place in range(len(CASES))]))])
    if grammar.rng.random() < 0.5:
        return {"instruction": SUMMARISE, "input": note.text, "output": note.summary}
    return {"instruction": PLAN, "input": note.text, "output": note.plan}


def _note(grammar: Grammar, case: Case) -> Note:
    rng = grammar.rng
    age, sex = rng.randint(19, 88), rng.choice("MF")
    complaint, finding = rng.choice(case.complaint), rng.choice(case.findings)
    history, since, until = (grammar.deal(f"deck {len(each)}", list(each)) for each in (HISTORY, SINCE, UNTIL))
    drugs = rng.sample(case.drugs, rng.randint(1, len(case.drugs)))
    doses = [(name, rng.choice(amounts), often) for name, amounts, often in drugs]
    advice, pressure, pulse = (
        rng.choice(case.advice),
        f"{rng.randint(105, 178)}/{rng.randint(62, 104)}",
        rng.randint(54, 112),
    )
    text = grammar.say(
        grammar.deal("layout", list(LAYOUTS)),
        who=f"{age} y/o {sex}", complaint=complaint[0], since=since, history=history, finding=finding[0],
        vitals=f"BP {pressure}, HR {pulse}", dx=case.diagnosis[0], advice=advice, until=until,
        rx=", ".join(f"{name} {dose}{rng.choice(['mg', ' mg'])} {often}" for name, dose, often in doses),
    )  # fmt: skip
    taken = " and ".join(f"{name} {dose} mg {OFTEN[often]}" for name, dose, often in doses)
    article, person, subject = "An" if age // 10 == 8 else "A", *(("man", "He") if sex == "M" else ("woman", "She"))
    summary = (
        f"{article} {age}-year-old {person} {complaint[1]}; this began {SINCE[since]}, and {HISTORY[history]}. The "
        f"examination showed {finding[1]}; blood pressure was {pressure} and heart rate {pulse}. The diagnosis is "
        f"{case.diagnosis[1]}. {subject} takes {taken} and is seen again {UNTIL[until]}."
    )
    plan = f"Problem: {case.diagnosis[1]}\nMedication: {taken}\nAdvice: {advice}\nFollow-up: {UNTIL[until]}"
    return Note(_person(grammar) + text, summary, plan)


def _person(grammar: Grammar) -> str:
    """A line with a made-up person's data before some of the notes."""
    if grammar.rng.random() > 0.2:
        return ""
    name = grammar.deal("name", NAMES)
    phone = f"202-555-01{grammar.number(10, 99)}"
    mail = f"{name.lower().replace(' ', '.')}@example.com"
    return grammar.rng.choice([f"Pt: {name}, tel. {phone}\n", f"{name} ({mail}, {phone}). ", f"Pt {name}, {mail}\n"])


def main() -> None:
    folder = Path(__file__).resolve().parent
    for name, rows in zip(("train", "validation"), make(), strict=True):
        write(folder / f"{name}.jsonl", rows)
    (folder / "terms.json").write_bytes(json.dumps(terms(), ensure_ascii=False, indent=2).encode() + b"\n")


if __name__ == "__main__":
    main()
