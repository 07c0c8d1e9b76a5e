"""What customers say about what they bought. {it} is the thing, {days} and {price} are numbers."""

from assets.samples.shared.grammar import lines

THINGS = lines("""
    standing desk
    espresso machine
    tent
    running jacket
    robot vacuum
    cordless drill
    children's bike
    air fryer
    office chair
    pair of hiking boots
    bedside lamp
    wool blanket
    e-reader
    garden bench
    rice cooker
    suitcase
    set of kitchen knives
    bookcase
    winter duvet
    record player
    camping stove
    rucksack
    pair of headphones
    sewing machine
    bread maker
    picture frame set
    hand mixer
    ceramic planter
""")

CONTEXT = lines("""
    Bought the {it} for our new flat.
    I ordered a {it} for my father's birthday.
    This is the second {it} I have had from this shop.
    After weeks of reading tests I settled on this {it}.
    My old {it} gave up after nine years, so I needed another.
    Got the {it} in the spring sale.
    We use the {it} nearly every day.
    My sister talked me into this {it}.
    Needed a {it} at short notice before a trip.
    I am no expert, I just wanted a decent {it}.
    Three months with the {it} now.
    First time ordering here, one {it}.
    We furnished a holiday cottage and the {it} was part of it.
    The {it} was a wedding present from the list.
    Read the other comments first, then ordered the {it} anyway.
    About the {it}:
""")

ASIDE = lines("""
    The colour is the dark green one, by the way.
    I paid by bank transfer.
    We live on the fourth floor without a lift.
    My neighbour has the smaller version.
    I compared four models beforehand.
    The manual comes in six languages.
    It now stands in the hallway.
    The dog was more interested in the box.
    I had a voucher from a friend.
    Assembly took me an evening with the radio on.
    Ordered on a Sunday night.
    My daughter picked it out.
""")

CORE: dict[str, dict[str, list[str]]] = {
    "delivery": {
        "positive": lines("""
            It arrived {days} days earlier than promised, and the driver carried it up the stairs.
            Ordered in the evening, on the doorstep next morning; I have never seen shipping that quick.
            The parcel was packed so well that not even the corners were bent.
            Tracking was right to the minute, which let me take a lunch break just in time.
            They rang an hour ahead and waited while I parked: what a courteous courier.
            Left with the neighbour exactly as I had asked, with a friendly note in the letter box.
            Sent to an island, and still here within {days} days. Hats off to whoever organises that.
            No plastic at all in the package, everything in paper, and nothing was scratched.
        """),
        "neutral": lines("""
            It came after {days} days, which is what the page had said.
            The parcel was left at the collection point; a short walk, nothing more.
            Shipping was neither quick nor slow, about a week all told.
            The box had a dent, but the contents were untouched.
            Two parcels, two different days, and in the end all of it was there.
            The courier came in the afternoon slot that I was given.
            I got the usual messages, then the usual van, then the usual signature.
            Delivery ended at the kerb, as the terms state, so I carried it in myself.
        """),
        "negative": lines("""
            {days} days late, and not one message about where the parcel was.
            The driver claimed that nobody was home while I sat by the window all afternoon.
            It was thrown over the fence in the rain and the box had gone to pulp.
            Tracking said 'delivered', but the parcel turned up {days} days later two streets away.
            Half of the shipment is still missing and the carrier shrugs.
            I took two mornings off for a delivery slot that came and went without a van.
            They sent it to my old address although the new one is on the invoice.
            Packed in a single sheet of newspaper; no wonder the side was crushed on arrival.
        """),
    },
    "quality": {
        "positive": lines("""
            Every seam and joint is clean, and after {days} weeks nothing squeaks or wobbles.
            You can feel that somebody thought about the details: solid, heavy, quiet.
            It survived a toddler, a house move and a thunderstorm without a mark.
            Much better made than the one at twice the weight that I had before.
            The material feels lovely and still looks new after {days} washes and wipes.
            It does its work so evenly that I stopped checking on it.
            No smell, no sharp edges, all screws where they should be. Excellent workmanship.
            I dropped it on a stone floor on day one. It laughed at me and went on.
        """),
        "neutral": lines("""
            Solid enough, with a seam here and there that could be straighter.
            It does what it should; the finish is plain but all right.
            The lid sits a little loose, the rest is well made.
            Neither a toy nor a professional tool, somewhere in between.
            After {days} weeks there is some wear, about as much as I expected.
            The fabric is thinner than in the picture, yet it holds up so far.
            Works fine on the low setting; on the high one it hums a bit.
            The build is average: good frame, so-so handles.
        """),
        "negative": lines("""
            It broke on the {days}th day of normal use.
            The paint flakes off if you so much as look at it.
            One leg is shorter than the others, so everything rolls off to the left.
            The zip, switch or whatever you touch first comes off in your hand.
            It smells of glue even after {days} days on the balcony.
            What is sold as solid is thin board with a printed grain.
            The motor screams, then stops, then smells burnt. That cannot be right.
            Threads everywhere, two screws missing, and a crack that had been painted over.
        """),
    },
    "price": {
        "positive": lines("""
            For {price} euros I have not found anything that comes close.
            Honest money for honest goods, and postage was included.
            I saw the same model for {price} more in town the day after. Lucky me.
            The set costs less than the single parts would elsewhere; a real bargain.
            Cheap enough that I ordered a second one for the office.
            They matched another shop's offer without any fuss and saved me {price} euros.
            Considering what spare parts cost, this is an investment that pays for itself.
            So much for so little: I checked the bill twice.
        """),
        "neutral": lines("""
            {price} euros is about what such things cost everywhere.
            Not cheap, not dear; you get what you pay for.
            With the voucher the price was fair, without it I would have waited.
            The price moved up and down by {price} euros in the weeks I watched it.
            A little more than planned, still within the budget.
            The basic model costs less, the big one more; I took the middle.
            I paid the list price, as there was no sale on.
            Filters cost extra, so count those in when you compare prices.
        """),
        "negative": lines("""
            {price} euros for this is a joke that only the shop finds funny.
            A week after I ordered, it was {price} euros cheaper, and they would not refund the difference.
            The low price is bait: lid, cable and battery all cost extra.
            I could have had a branded one for the same money.
            At checkout a 'handling fee' of {price} euros appeared out of nowhere.
            Overpriced by half; the identical thing hangs in the supermarket.
            Paying for the brand name alone, and it shows.
            Spare parts cost nearly as much as the whole thing, so this will be expensive junk.
        """),
    },
    "service": {
        "positive": lines("""
            When I had a question, a real person answered within {days} minutes and knew the answer.
            A part was missing; one photo later the replacement was on its way, no forms to fill in.
            The lady on the phone stayed on the line until everything worked. Thank you!
            I had chosen the wrong size, and the exchange was sorted out in two short e-mails.
            Customer care called back on a Saturday to ask whether all was well.
            They repaired it after the warranty had ended and did not charge a penny.
            The chat was patient with my {days} silly questions.
            Kind, quick, and they write whole sentences: support as it should be.
        """),
        "neutral": lines("""
            Support replied after {days} days with a link to the manual, which did answer it.
            The return went through by the book: form, label, refund.
            I spoke to the hotline once; polite, a bit scripted.
            The help page is long, but what I needed was on it.
            They took note of my complaint and sent a standard letter.
            The exchange took a while and then it was done.
            The staff were correct, neither warm nor cold.
            I wrote, they wrote back, and we found a compromise in the middle.
        """),
        "negative": lines("""
            {days} e-mails, no answer, and the hotline plays music until it hangs up.
            The man on the phone told me it was my own fault and put the receiver down.
            Every time I call I must tell the whole story again to somebody new.
            They asked for photos, then for other photos, then closed my case.
            Support promised a refund on Monday; that was {days} Mondays ago.
            The chat is a robot that thanks me for my patience. I have none left.
            Nobody there feels responsible: shop blames maker, maker blames shop.
            To send it back I should print eleven pages and pay for the postage as well.
        """),
    },
}

CLOSING: dict[str, list[str]] = {
    "positive": lines("""
        Would buy here again any time.
        Five stars, no hesitation.
        Recommended to half my street already.
        I could not be happier.
        More of this, please.
        Just good.
        Keep it up!
    """),
    "neutral": lines("""
        That is all there is to say.
        Three stars from me.
        Might order again, might not.
        Let us see how it goes from here.
        Fine for now.
        As expected.
        No strong feelings.
    """),
    "negative": lines("""
        Never again.
        One star is one too many.
        I want my money back.
        Stay away.
        What a disappointment.
        Save yourself the trouble.
        I am really annoyed.
    """),
}
