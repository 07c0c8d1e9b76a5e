"""Clauses of whole contracts, with a question on each and its answer. The statutes they cite are invented."""

from __future__ import annotations

from dataclasses import dataclass

from assets.samples.shared.grammar import lines


@dataclass(frozen=True)
class Clause:
    """A clause in the ways a contract may say it, what may be asked of it, and the answer."""

    title: str
    ways: list[str]
    question: str
    answer: str


CLAUSES = [
    Clause(
        "Term and termination",
        [
            "This Agreement begins on signing. Either party may terminate it by giving not less than {days} days' "
            "written notice, without prejudice to rights accrued before termination.",
            "This Agreement continues until it is terminated in writing by either party upon {days} days' notice; "
            "§ {para} of the {act} remains unaffected.",
        ],
        "How much notice must be given to end this contract?",
        "{days} days, in writing.",
    ),
    Clause(
        "Payment",
        [
            "The {payer} shall pay each undisputed invoice within {days} days of receipt. Late amounts bear interest "
            "at {rate} per cent per annum pursuant to § {para} of the {act}.",
            "Invoices fall due {days} days after receipt; any sum then outstanding shall accrue interest at a rate of "
            "{rate} per cent a year.",
        ],
        "Within how many days must a bill be paid, and what does paying late cost?",
        "Within {days} days; after that {rate} per cent interest a year is added.",
    ),
    Clause(
        "Limit of liability",
        [
            "Save in cases of wilful misconduct, the liability of the {payee} under this Agreement shall not exceed "
            "{amount} euros in aggregate.",
            "The {payee}'s total liability, whether in contract, tort or otherwise, is capped at {amount} euros; "
            "§ {para} of the {act} applies to personal injury.",
        ],
        "What is the most that can be claimed in damages?",
        "{amount} euros in all.",
    ),
    Clause(
        "Confidentiality",
        [
            "Each party shall keep confidential all information disclosed to it hereunder and shall not use it for "
            "any other purpose for a period of {years} years following disclosure, except as required by § {para} of "
            "the {act}.",
            "Information marked as confidential shall be held in strict confidence for {years} years, also after the "
            "end of this Agreement.",
        ],
        "For how long must information be kept secret?",
        "For {years} years.",
    ),
    Clause(
        "Events beyond control",
        [
            "Neither party shall be in breach by reason of any delay caused by events beyond its reasonable control, "
            "provided it notifies the other within {days} days.",
            "A party that is prevented from performing by flood, fire, war or strike shall say so within {days} days; "
            "performance is then suspended for as long as the event persists.",
        ],
        "How soon must the other side be told of an event beyond control?",
        "Within {days} days.",
    ),
    Clause(
        "Warranty",
        [
            "The {payee} warrants that the goods will be free from defects in material and workmanship for {years} "
            "years from delivery, the remedies in § {para} of the {act} being exclusive.",
            "For a period of {years} years the {payee} shall at its option repair or replace defective goods.",
        ],
        "How long does the guarantee on the goods last?",
        "{years} years.",
    ),
    Clause(
        "Assignment",
        [
            "Neither party may assign its rights or obligations hereunder without the prior written consent of the "
            "other, such consent not to be unreasonably withheld.",
            "No party shall transfer this Agreement to a third party save with written approval under § {para} of the "
            "{act}.",
        ],
        "May this contract be handed on to somebody else?",
        "Only if the other side agrees in writing.",
    ),
    Clause(
        "Staff",
        [
            "For {months} months after the end of this Agreement neither party shall hire staff of the other with "
            "whom it dealt.",
            "The parties shall refrain from soliciting each other's employees during this Agreement and for {months} "
            "months thereafter.",
        ],
        "For how long may the parties not hire each other's staff after the end?",
        "For {months} months.",
    ),
    Clause(
        "Disputes",
        [
            "Any dispute arising out of this Agreement shall be finally settled by arbitration in {city}, after "
            "mediation has failed.",
            "The courts of {city} shall have exclusive jurisdiction; § {para} of the {act} on consumer venues is "
            "reserved.",
        ],
        "Where are disputes settled?",
        "In {city}.",
    ),
    Clause(
        "Severability",
        [
            "If any provision of this Agreement is held invalid, the remaining provisions shall continue in force and "
            "the parties shall agree on a substitute.",
            "The invalidity of one clause leaves the others intact; in its place § {para} of the {act} applies.",
        ],
        "What happens if one of the clauses turns out to be invalid?",
        "The other clauses still count.",
    ),
    Clause(
        "Insurance",
        [
            "The {payee} shall hold insurance against damage to property of at least {amount} euros for as long as "
            "this Agreement lasts.",
            "Before the first delivery the {payee} shall prove that it is insured for no less than {amount} euros, as "
            "§ {para} of the {act} demands.",
        ],
        "For what sum must the party that delivers be insured?",
        "For at least {amount} euros.",
    ),
    Clause(
        "Records",
        [
            "The {payee} shall keep records of all deliveries for {years} years and let the {payer} inspect them upon "
            "{days} days' notice.",
            "Records of what was delivered are kept for {years} years; the {payer} may look at them, having given "
            "{days} days' notice.",
        ],
        "How long are records of deliveries kept?",
        "For {years} years.",
    ),
]

PREAMBLE = [
    "SUPPLY AGREEMENT\nbetween the party hereinafter called the {payer} and the party hereinafter called the {payee}. "
    "Whereas the {payee} offers goods and services listed in the schedule, and whereas the {payer} wishes to obtain "
    "them on the terms below, the parties agree as follows.",
    "FRAMEWORK CONTRACT\nThe {payer} and the {payee}, having talked about what each of them needs, put down here what "
    "they have agreed upon. Earlier drafts, letters and e-mails are of no effect.",
    "MASTER AGREEMENT\nmade in two copies, of which the {payer} and the {payee} each keep one. Headings serve reading "
    "only and do not bear on what a clause means.",
]
DEFINITIONS = lines("""
    "Agreement" means this document with its schedule.
    "Business day" means any day on which banks in {city} are open.
    "Goods" means everything that the schedule lists, parts and manuals included.
    "Invoice" means a bill that names the delivery it belongs to.
    "Delivery" means the moment at which the {payer} signs for the Goods.
    "Notice" means a letter, or an e-mail whose receipt was confirmed.
    "Party" means the {payer} or the {payee}, and "parties" both of them.
    "Year" means twelve months from the date of signing.
""")
GOODS = lines("""
    oak desks
    office chairs
    filing cabinets
    desk lamps
    shelves of two metres
    meeting tables
    partition walls
    coat stands
    whiteboards
    footrests
    carpets
    lockers
""")
ACTS = ["Sale of Goods Code", "Trade Act", "Fair Contracts Act", "Civil Dealings Code", "Services Act"]
CITIES = ["Port Ellery", "Northhaven", "Grauburg", "Saint-Corbin", "Villa Serena", "Oststad"]
PARTIES = [("customer", "supplier"), ("client", "contractor"), ("buyer", "seller")]
