"""More questions and answers, each used once."""

from assets.samples.shared.grammar import lines


def _pairs(text: str) -> list[tuple[str, str]]:
    """A question a line, its answer on the next."""
    each = lines(text)
    return list(zip(each[::2], each[1::2], strict=True))


PAIRS = _pairs("""
    Which colour of cable goes into the yellow socket?
    Any network cable will do; the yellow one in the box is only there so that you can tell them apart.
    Do you have a shop where I could look at things first?
    We have a showroom behind the central station, open from ten to six except on Sundays.
    I paid twice by mistake. What now?
    The second payment is sent back by itself within {n} hours. You need not do anything.
    Is the voucher from the newsletter valid for reduced goods too?
    It is, unless the page of the product says otherwise. Enter it in the last step before paying.
    My parcel has been in Leipzig for a week.
    I have asked the carrier to look for it. If it is not found by Friday we send another at our expense.
    Can I wall-mount it with ordinary screws?
    Yes, with two screws of four millimetres set {n} centimetres apart; the paper template is in the box.
    What is guest mode good for?
    Visitors get on the internet with it but cannot see your own computers and printers.
    How loud is the fan?
    About as loud as a whisper, and it only runs while large files are copied.
    Do you offer discounts for schools?
    Schools and libraries get {n} per cent off. Write to us from the school's own address.
    The app says 'error 41' and closes.
    That number means that the phone and the device are on different networks. Join the same one and open it again.
    Why is my upload so much slower than my download?
    Most home lines are sold that way. Look into your contract: the smaller of the two numbers is the upload.
    May I use the charger of my old one?
    Only if its label says twelve volts and at least two amperes. A weaker one makes it restart at random.
    Are spare aerials sold separately?
    They are, in pairs, under the heading 'Parts'. Turn them in by hand, without tools.
    Who do I tell that I have moved house?
    Change it under 'My addresses'. Orders that are on their way already still go to the old place.
    Could you delete my account, please?
    I can. Bills must be kept for some years by law; all else is gone by tomorrow evening.
    Which of your models is best for a thatched cottage with thick walls?
    Two small ones at opposite ends do better there than one strong one in the middle.
    Nothing happens when I press the reset pin.
    Press until you feel a second click and wait for the lamps to go out, which takes up to {n} seconds.
    Is it safe to leave everything switched on during a thunderstorm?
    Pull both plugs, power and telephone. A lightning strike near by can travel along either of them.
    How much electricity does it draw in a year?
    Around {n} kilowatt-hours, somewhat less with the timer on.
    Can the video be stored at home rather than in the cloud?
    Put a memory card into the slot below the lens and choose 'Local' in the settings.
    The seller on another site asks much less. Do you match that?
    If that shop is an authorised dealer and has it in stock, send us the link and we will.
    What happens to my old device if I return it for recycling?
    It is taken apart by hand; metals and boards are sorted and the data chip is shredded.
    How can I stop my children from surfing after nine?
    Make a profile for their tablets and give it the hours you like; it takes effect at once.
    My invoice shows the wrong tax rate.
    You are right, it was set for another country. The corrected one is attached to your order now.
    Could the courier leave it with the bakery on the corner?
    Yes. Pick 'Safe place' in the tracking mail and type the name of the bakery.
    Does the warranty lapse if I open the case?
    Opening alone is fine. Damage done on the way is not covered, so do mind the thin cables.
    There is a rattling inside when I shake it.
    Something has come loose. Please do not plug it in, and send it to us with the prepaid label.
    What do the letters behind the model name stand for?
    They tell the region of the plug: E for Europe, U for the United Kingdom and so on.
    I'd like to speak to a human being.
    You are: my name is Ines and I have read your last three messages. How can I help?
    Which printers work with the extra socket?
    All that understand the common standard; the list on our help page has more than four hundred names.
    Can I hide the name of my wireless network?
    You can, under 'Visibility', but it hardly makes it safer. A long password does more.
    How do I know that a message is really from you?
    We never ask for passwords, and our mails always carry the last three digits of your customer number.
    The film stops every evening at about eight.
    That is when the whole street is online. Choose channel {n} by hand and see if it gets better.
    Is there a printed manual? I do not like screens.
    Gladly: tell us the language and we post you a booklet of {n} pages for free.
    May I pay in three instalments?
    From one hundred euros on, yes, without interest. Choose it at the checkout.
    Two of the four screws were missing.
    Sorry about that! A small bag with six of them is in the post to you.
    Can it be used on a boat?
    On inland waters yes, with the twelve-volt adapter. Salt air will shorten its life, though.
    What is the difference between the blue and the black one?
    The blue has one more socket; in speed and reach they are the same.
    The clock in the menu is an hour off since Sunday.
    Tick 'Summer time' below the time zone. Later models do it by themselves.
    Why do I have to sign for the parcel?
    Because of its value. If you are out, a neighbour may sign as well.
    Does it understand the new wireless standard?
    It does after the spring update; older phones keep working next to newer ones.
    How long do updates keep coming?
    For at least five years from the day on which the last one of that model is sold.
""")
