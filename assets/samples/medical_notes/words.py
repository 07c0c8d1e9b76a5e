"""Invented patients: what they complain of, what is found and what is planned. No medical advice."""

from dataclasses import dataclass

from assets.samples.shared.grammar import lines


@dataclass(frozen=True)
class Case:
    """One illness, as the note says it and as the summary says it. `drugs`: (name, mg, how often)."""

    complaint: list[tuple[str, str]]  # (in the note, in plain words)
    findings: list[tuple[str, str]]
    diagnosis: tuple[str, str]
    drugs: list[tuple[str, list[int], str]]
    advice: list[str]


OFTEN = {"q.d.": "once daily", "b.i.d.": "twice daily", "t.i.d.": "three times daily", "q.h.s.": "at bedtime"}

CASES = [
    Case(
        [("SOB on exertion", "is short of breath on exertion"), ("swollen ankles", "has swollen ankles")],
        [
            ("bibasal crackles", "crackles at both lung bases"),
            ("CXR: large heart", "an enlarged heart on the chest X-ray"),
        ],
        ("CHF", "congestive heart failure"),
        [("furosemide", [20, 40], "b.i.d."), ("bisoprolol", [5], "q.d.")],
        ["daily weight", "salt below 6 g a day", "come back at once if SOB at rest"],
    ),
    Case(
        [
            ("polyuria and thirst", "passes much urine and is thirsty"),
            ("tired, losing wt", "is tired and losing weight"),
        ],
        [("FBG 11.2 mmol/L", "a fasting blood glucose of 11.2 mmol/L"), ("HbA1c 8.9%", "an HbA1c of 8.9%")],
        ("DM2", "type 2 diabetes"),
        [("metformin", [500, 850], "b.i.d."), ("sitagliptin", [100], "q.d.")],
        ["diet counselling", "eye check", "foot care leaflet given"],
    ),
    Case(
        [("HA in the mornings", "has headaches in the mornings"), ("no sx, routine check", "came for a routine check")],
        [("BP high on 3 visits", "raised blood pressure on three visits"), ("ECG normal", "a normal ECG")],
        ("HTN", "high blood pressure"),
        [("ramipril", [5, 10], "q.d."), ("amlodipine", [5], "q.d.")],
        ["home BP log", "30 min walk a day", "labs for K and creatinine"],
    ),
    Case(
        [
            ("productive cough, fever", "has a cough with phlegm and a fever"),
            ("R chest pain", "has pain in the right chest"),
        ],
        [
            ("crackles RLL", "crackles in the right lower lobe"),
            ("CXR: RLL infiltrate", "an infiltrate on the chest X-ray"),
        ],
        ("CAP", "community-acquired pneumonia"),
        [("amoxicillin", [1000], "t.i.d."), ("paracetamol", [500], "t.i.d.")],
        ["fluids", "control CXR", "ED if worse"],
    ),
    Case(
        [
            ("dysuria and frequency", "has burning and frequent urination"),
            ("lower abd pain", "has lower abdominal pain"),
        ],
        [("UA: nitrites pos", "nitrites in the urine"), ("no CVA tenderness", "no tenderness over the kidneys")],
        ("UTI", "urinary tract infection"),
        [("nitrofurantoin", [100], "b.i.d.")],
        ["plenty of fluids", "urine culture sent", "call if fever"],
    ),
    Case(
        [("wheeze at night", "wheezes at night"), ("cough w/ exercise", "coughs when exercising")],
        [("peak flow 70%", "a peak flow of 70% of expected"), ("diffuse wheeze", "wheezing over both lungs")],
        ("asthma exac", "a flare-up of asthma"),
        [("prednisolone", [30, 40], "q.d."), ("montelukast", [10], "q.h.s.")],
        ["inhaler technique shown", "peak flow diary", "avoid smoke"],
    ),
    Case(
        [
            ("throbbing L-sided HA", "has a throbbing left-sided headache"),
            ("N/V, light hurts", "has nausea and avoids light"),
        ],
        [("neuro exam normal", "a normal neurological examination"), ("no neck stiffness", "no stiffness of the neck")],
        ("migraine w/o aura", "migraine without aura"),
        [("sumatriptan", [50, 100], "q.d."), ("propranolol", [40], "b.i.d.")],
        ["headache diary", "regular sleep", "dark room during attacks"],
    ),
    Case(
        [("heartburn after meals", "has heartburn after meals"), ("sour taste at night", "has a sour taste at night")],
        [("epigastric tenderness", "tenderness of the upper abdomen"), ("no wt loss", "no weight loss")],
        ("GERD", "reflux disease"),
        [("omeprazole", [20, 40], "q.d.")],
        ["no late meals", "raise the head of the bed", "endoscopy if no better"],
    ),
    Case(
        [("LBP after lifting", "has low back pain after lifting"), ("stiff in the a.m.", "is stiff in the mornings")],
        [("SLR neg bilat", "a negative leg raise on both sides"), ("no sensory loss", "no loss of sensation")],
        ("mechanical LBP", "low back pain of muscular origin"),
        [("ibuprofen", [400, 600], "t.i.d."), ("pantoprazole", [20], "q.d.")],
        ["stay active", "PT referral", "no bed rest"],
    ),
    Case(
        [
            ("wt gain and feels cold", "has gained weight and feels cold"),
            ("dry skin, tired", "has dry skin and is tired"),
        ],
        [("TSH 14", "a TSH of 14"), ("HR slow, thyroid nl", "a slow pulse and a normal thyroid on palpation")],
        ("hypothyroidism", "an underactive thyroid"),
        [("levothyroxine", [25, 50, 75], "q.d.")],
        ["take on an empty stomach", "TSH again", "no change in diet"],
    ),
    Case(
        [
            ("early waking, low mood", "wakes early and is in a low mood"),
            ("no interest in anything", "has lost interest in everything"),
        ],
        [("PHQ-9 16", "a PHQ-9 score of 16"), ("no SI", "no suicidal thoughts")],
        ("MDD, moderate", "moderate depression"),
        [("sertraline", [50, 100], "q.d."), ("mirtazapine", [15], "q.h.s.")],
        ["talking therapy referral", "crisis number given", "walk in daylight"],
    ),
    Case(
        [("red hot R great toe", "has a red, hot right big toe"), ("woke w/ foot pain", "was woken by foot pain")],
        [("MTP1 swollen", "a swollen first toe joint"), ("urate high", "a raised uric acid level")],
        ("gout", "gout"),
        [("naproxen", [500], "b.i.d."), ("allopurinol", [100], "q.d.")],
        ["ice and rest", "less beer and red meat", "start allopurinol once calm"],
    ),
]

HISTORY = {
    "h/o HTN": "high blood pressure is known",
    "h/o DM2": "type 2 diabetes is known",
    "h/o CAD": "coronary artery disease is known",
    "s/p appy": "the appendix has been removed",
    "h/o COPD": "chronic obstructive pulmonary disease is known",
    "NKDA": "no drug allergies are known",
    "ex-smoker": "smoking was given up",
    "s/p L TKR": "the left knee has been replaced",
    "no PMH": "there was no earlier illness",
}
SINCE = {
    "x 2d": "two days ago",
    "x 4d": "four days ago",
    "x 1 wk": "a week ago",
    "x 2 wks": "two weeks ago",
    "x 1 mo": "a month ago",
    "x 3 wks": "three weeks ago",
}
UNTIL = {
    "f/u 1 wk": "in one week",
    "f/u 2 wks": "in two weeks",
    "RTC 6 wks": "in six weeks",
    "RTC 3 mos": "in three months",
}
NAMES = lines("""
    Mira Sample
    Otto Muster
    Lena Placeholder
    Carl Exemplar
    Petra Fiction
    Ivo Nobody
    Ruth Invented
    Samir Madeup
    Elsa Specimen
    Hugo Dummy
""")
