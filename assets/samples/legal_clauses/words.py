"""Clauses as contracts have them, and what they mean. The statutes they cite are invented."""

Clause = tuple[list[str], list[str]]  # (ways a contract says it, ways to explain it)

CLAUSES: list[Clause] = [
    (
        [
            "Either party may terminate this Agreement by giving not less than {days} days' written notice, without "
            "prejudice to rights accrued before termination under Section {sec}.",
            "This Agreement shall continue until terminated by either party upon {days} days' prior notice in writing; "
            "§ {para} of the {act} remains unaffected.",
        ],
        [
            "Both sides can end the contract, but they must say so in writing at least {days} days ahead. What "
            "was owed "
            "before then is still owed.",
            "You may leave the contract, and so may the other side, with {days} days' written notice.",
        ],
    ),
    (
        [
            "The {payer} shall pay each undisputed invoice within {days} days of receipt. Late amounts bear "
            "interest at "
            "{rate} per cent per annum pursuant to § {para} of the {act}.",
            "Invoices fall due {days} days after receipt; any sum then outstanding shall accrue interest at a rate of "
            "{rate}% a year (cf. Art. {art} No. {no} of the {act}).",
        ],
        [
            "The {payer} has {days} days to pay a bill. Whoever pays later also pays {rate} per cent interest a "
            "year on it.",
            "Bills must be paid within {days} days. After that, {rate} per cent a year is added.",
        ],
    ),
    (
        [
            "Save in cases of wilful misconduct, the liability of the {payee} under this Agreement shall not exceed "
            "{amount} euros in aggregate, subject to Section {sec}.",
            "The {payee}'s total liability, whether in contract, tort or otherwise, is capped at {amount} euros; "
            "§ {para} of "
            "the {act} applies to personal injury.",
        ],
        [
            "Whatever goes wrong, the {payee} owes at most {amount} euros altogether, unless the harm was done "
            "on purpose or "
            "the clause's exception applies.",
            "There is an upper limit to what the {payee} can be made to pay: {amount} euros in all, with an "
            "exception named "
            "in the clause.",
        ],
    ),
    (
        [
            "Each party shall keep confidential all information disclosed to it hereunder and shall not use it "
            "for any other "
            "purpose for a period of {years} years following disclosure, except as required by § {para} of the {act}.",
            "The {payee} undertakes to hold the Confidential Information in strict confidence for {years} years. "
            "Section "
            "{sec} shall survive termination.",
        ],
        [
            "What is learnt through the contract must stay secret for {years} years.",
            "Nothing that is shared under this contract may be passed on for {years} years, even once the "
            "contract is over.",
        ],
    ),
    (
        [
            "Neither party shall be in breach by reason of any delay caused by events beyond its reasonable "
            "control, provided "
            "it notifies the other within {days} days (Section {sec}).",
            "Performance is suspended for as long as an event of force majeure as defined in Art. {art} No. {no} "
            "of the {act} "
            "persists; after {days} days either party may withdraw.",
        ],
        [
            "Nobody is to blame for delays that they could not prevent, such as a flood. The number of days that "
            "counts here "
            "is {days}.",
            "If something outside anybody's control stops the work, that breaks no promise. A limit of {days} "
            "days applies.",
        ],
    ),
    (
        [
            "The tenant shall deposit {amount} euros as security, repayable without interest within {days} days "
            "of vacating "
            "the premises, less sums due under § {para} of the {act}.",
            "A deposit of {amount} euros is payable on signing and shall be returned {days} days after the keys "
            "are handed "
            "back, subject to deductions under Section {sec}.",
        ],
        [
            "The tenant leaves {amount} euros with the landlord and gets them back within {days} days of moving "
            "out, minus "
            "what is still owed.",
            "A deposit of {amount} euros is paid at the start. It comes back {days} days after the end if "
            "nothing is owed or "
            "broken.",
        ],
    ),
    (
        [
            "The {payee} warrants that the goods will be free from defects in material and workmanship for "
            "{years} years from "
            "delivery, the remedies in § {para} of the {act} being exclusive.",
            "For a period of {years} years the {payee} shall at its option repair or replace defective goods "
            "notified in "
            "accordance with Section {sec}.",
        ],
        [
            "If a fault shows within {years} years, the {payee} has to put it right.",
            "The goods come with a guarantee of {years} years; what is faulty is mended or replaced as the "
            "clause says.",
        ],
    ),
    (
        [
            "The {payee} may not assign its rights or obligations hereunder without the prior written consent of "
            "the {payer}, "
            "such consent not to be unreasonably withheld (Section {sec}).",
            "No party shall transfer this Agreement to a third party save with written approval under § {para} "
            "of the {act}.",
        ],
        [
            "The contract cannot be handed on to somebody else unless the other side agrees in writing.",
            "You cannot simply pass this contract to another person or company; it takes a written yes first.",
        ],
    ),
    (
        [
            "The employee shall not, for {months} months after leaving, solicit customers of the company with "
            "whom the employee "
            "dealt in the preceding {days} days, cf. § {para} of the {act}.",
            "For {months} months following termination the employee shall refrain from competing with the "
            "company; compensation "
            "is governed by Art. {art} No. {no} of the {act}.",
        ],
        [
            "After leaving, the employee must stay away from the company's business for {months} months, within "
            "the limits that "
            "the clause draws.",
            "For {months} months after the job ends, the employee may not take business away from the old employer.",
        ],
    ),
    (
        [
            "Any dispute arising out of this Agreement shall be finally settled by arbitration in {city}, {days} "
            "days after "
            "mediation has failed, in accordance with Section {sec}.",
            "The courts of {city} shall have exclusive jurisdiction; § {para} of the {act} on consumer venues is "
            "reserved.",
        ],
        [
            "If both sides quarrel about the contract, the matter is decided in {city}.",
            "Arguments over this contract are settled in {city} and nowhere else, unless the clause names an "
            "exception.",
        ],
    ),
    (
        [
            "If any provision of this Agreement is held invalid, the remaining provisions shall continue in "
            "force and the "
            "parties shall agree a substitute in the spirit of Section {sec}.",
            "The invalidity of one clause leaves the others intact; in its place § {para} of the {act} applies.",
        ],
        [
            "Should one part of the contract turn out not to be valid, the rest still counts.",
            "One broken clause does not break the contract. The gap is filled as the clause describes.",
        ],
    ),
    (
        [
            "The consumer may withdraw from this contract within {days} days without giving reasons. The period "
            "begins on "
            "receipt of the goods (Art. {art} No. {no} of the {act}).",
            "A right of withdrawal exists for {days} days from delivery; to exercise it a clear statement "
            "suffices, § {para} of "
            "the {act}.",
        ],
        [
            "Customers can change their minds within {days} days of getting the goods, and need not say why.",
            "You may send the goods back within {days} days; a short message is enough and no reason is needed.",
        ],
    ),
]

ACTS = ["Sale of Goods Code", "Tenancy Act", "Trade Act", "Fair Contracts Act", "Civil Dealings Code", "Services Act"]
CITIES = ["Port Ellery", "Northhaven", "Grauburg", "Saint-Corbin", "Villa Serena", "Oststad"]
PAYERS = [("customer", "supplier"), ("client", "contractor"), ("buyer", "seller"), ("publisher", "author")]
ASKS = [
    "Explain this clause in plain language:",
    "What does this clause mean for somebody who is no lawyer?",
    "Say in one or two simple sentences what is agreed here:",
    "Put into everyday words:",
]
