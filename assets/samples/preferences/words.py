"""Questions of everyday life: (ways to ask, a good answer, the same said wrongly, what it is about)."""

from assets.samples.shared.grammar import lines

Item = tuple[list[str], str, str, str]

ITEMS: list[Item] = [
    (
        ["How do I get red wine out of a cotton shirt?", "Spilt red wine on my shirt. What now?"],
        "Blot it at once, do not rub. Cover the stain with salt or rinse it with cold sparkling water, then soak it in "
        "cool water with a little detergent and wash it as usual. Check before drying: heat sets what is left.",
        "Iron it dry on the hottest setting first, then wash it. The heat pulls the wine out of the fibres.",
        "stains",
    ),
    (
        ["Why does bread go stale faster in the fridge?", "Is it a good idea to keep bread in the fridge?"],
        "Near freezing point, the starch in bread crystallises fastest, and that is what makes it firm and dry. "
        "Keep it "
        "in a bread bin at room temperature for two or three days, and freeze what you will not eat by then.",
        "The fridge is the best place, since cold stops bread from going stale at all.",
        "bread",
    ),
    (
        ["What is the difference between weather and climate?", "Weather or climate: aren't they the same?"],
        "Weather is what the air does at one place over hours or days. Climate is the pattern of weather over decades, "
        "usually counted as thirty years. One cold week is weather; milder winters over a generation are climate.",
        "They are two words for the same thing; scientists just like the longer one.",
        "the climate",
    ),
    (
        ["How do I politely decline an invitation to a wedding?", "I can't go to a friend's wedding. How do I say so?"],
        "Answer soon and keep it short: thank them, say that you cannot come, wish them well. For example: "
        "'Thank you so "
        "much for inviting me. Sadly I can't be there that day, but I'll be thinking of you both.' You owe no reason.",
        "Best not to answer at all. They will notice on the day that you are not there.",
        "invitations",
    ),
    (
        ["My laptop is very slow since yesterday. Where do I start?", "What can I do about a laptop that became slow?"],
        "First restart it. Then open the task manager and sort by CPU and by memory to see which program is "
        "busy. Check "
        "that the disk has some ten per cent free and whether an update is being installed. If nothing stands "
        "out, scan "
        "for malware.",
        "Delete the system folder to make room; the computer will rebuild it on the next start.",
        "computers",
    ),
    (
        ["How long do I boil an egg so that the yolk is still soft?", "Soft-boiled egg: how many minutes?"],
        "About six minutes in boiling water for a medium egg straight from the fridge, a minute more for a large one. "
        "Then put it in cold water briefly so that it does not go on cooking.",
        "Fifteen minutes at a full boil gives you a soft yolk.",
        "eggs",
    ),
    (
        ["Why is the sky blue?", "Can you explain to a ten-year-old why the sky is blue?"],
        "Sunlight is a mix of all colours. When it hits the tiny molecules of the air, blue light is scattered in all "
        "directions far more than red. So from everywhere in the sky some blue light reaches your eyes.",
        "The sky is blue because it reflects the oceans.",
        "the sky",
    ),
    (
        ["How do I change a flat bicycle tyre?", "My bike has a puncture. What are the steps?"],
        "Take the wheel off and lever one side of the tyre over the rim. Pull out the tube, and feel inside the "
        "tyre for "
        "what made the hole. Put in a new or patched tube with a little air in it, press the tyre back by hand, "
        "pump it "
        "up, and put the wheel back.",
        "Just pump it up more and more until the hole closes by itself.",
        "bicycles",
    ),
    (
        ["What does 'net' mean on my payslip?", "Gross and net pay: what's the difference?"],
        "Gross pay is what your employer agreed to pay you. Net pay is what reaches your account after income tax, "
        "social insurance and other deductions. The payslip lists each deduction between the two.",
        "Net is the larger number, before taxes; gross is what you receive.",
        "payslips",
    ),
    (
        ["How often should I water a cactus?", "My cactus looks sad. How much water does it need?"],
        "In spring and summer water it well once the soil has been dry for some days, about every two weeks, and "
        "let it "
        "drain. In winter once a month or less is enough. A soft, yellowing cactus mostly has had too much.",
        "Every morning and every evening, as deserts are hot and it will be thirsty.",
        "plants",
    ),
    (
        ["Write one sentence to apologise for being late to a meeting.", "I was late for a meeting. Draft an apology."],
        "I'm sorry for being late this morning and for keeping you waiting; I'll leave earlier next time.",
        "Sorry, but the meeting should not have been that early.",
        "apologies",
    ),
    (
        ["What is compound interest?", "Explain compound interest with a small example."],
        "It is interest on interest: each year's interest is added to the sum and earns interest itself. With "
        "100 euros "
        "at 5 per cent you have 105 after one year and 110.25 after two, since the second year's 5 per cent is "
        "taken of "
        "105.",
        "It means that you get the same interest every year, so 100 euros at 5 per cent are 110 after two years.",
        "interest",
    ),
    (
        ["Can I put olive oil in the frying pan for steak?", "Is olive oil fine for frying at high heat?"],
        "Refined olive oil, yes. Extra virgin oil begins to smoke at roughly 190 °C, so for searing a steak "
        "choose an oil "
        "with a higher smoke point, such as refined rapeseed oil, and keep the good oil for the plate.",
        "Any oil is the same; if it smokes, that only means it is ready.",
        "frying",
    ),
    (
        ["How do I back up the photos on my phone?", "I'm afraid of losing my phone's photos. Any advice?"],
        "Keep two copies besides the phone: switch on automatic upload to a cloud service, and copy the photos to an "
        "external disk every month or so. Open a few of the copies now and then to be sure that they can be read.",
        "Copy them into another folder on the same phone, that is a safe backup.",
        "backups",
    ),
    (
        ["Why do leaves change colour in autumn?", "What makes leaves turn yellow and red?"],
        "As days shorten, trees stop renewing the green chlorophyll in their leaves. The yellow pigments that "
        "were there "
        "all along then show, and some trees make red ones from the sugar that is left in the leaf.",
        "The cold paints them: frost turns the green colour into red.",
        "leaves",
    ),
    (
        ["How can I fall asleep more easily?", "I lie awake for hours. What could help?"],
        "Get up at the same time every day, keep the bedroom dark and cool, and leave coffee after noon. If you "
        "are still "
        "awake after some twenty minutes, get up and do something quiet. If this lasts for weeks, do ask a doctor.",
        "Drink a strong coffee and look at the news in bed until your eyes close.",
        "sleep",
    ),
    (
        ["What is a prime number?", "Is 1 a prime number?"],
        "A prime is a whole number greater than 1 that only 1 and itself divide: 2, 3, 5, 7, 11 and so on. By that "
        "definition 1 is not a prime, which keeps the factorisation of every number unique.",
        "Primes are the odd numbers, so 1, 9 and 15 are primes and 2 is not.",
        "numbers",
    ),
    (
        ["How do I ask my landlord to repair the heating?", "Heating is broken. What should I write to my landlord?"],
        "Write, so that there is a record: what is broken, since when, and by which day you ask for a repair. For "
        "example: 'The heating in my flat has not worked since Monday. Please have it repaired by Friday and tell me "
        "when someone will come.' Keep a copy and note the room temperature.",
        "Say nothing and stop paying the rent at once; the landlord will understand.",
        "heating",
    ),
    (
        ["What should I check before buying a used car?", "Buying a used car tomorrow. What matters most?"],
        "Look at the service book and the last inspection, compare the chassis number with the papers, and see "
        "the car in "
        "daylight and with a cold engine. Test the brakes and all gears on a drive, and write every promise into the "
        "contract.",
        "Mainly the colour, and pay before you look so that nobody else gets it.",
        "cars",
    ),
    (
        ["How does a vaccine work?", "What does a vaccine do in the body?"],
        "It shows the immune system a harmless piece or plan of a germ. The body makes antibodies and memory cells "
        "against it. When the real germ comes along, those react quickly, so that you fall ill mildly or not at all.",
        "It kills all germs in the blood, like an antibiotic, for a few weeks.",
        "vaccines",
    ),
    (
        ["Suggest a packing list for a weekend hike.", "What do I take on a two-day hike with a night in a hut?"],
        "Broken-in boots, rain jacket, a warm layer, spare socks, map, head torch, first-aid kit, two litres of water, "
        "food for the day, a sleeping bag liner for the hut, cash, and a charged phone with the emergency number.",
        "A suitcase with formal clothes; water is heavy, so leave that at home.",
        "hiking",
    ),
    (
        ["Can cats drink milk?", "Is milk good for my cat?"],
        "Most grown cats cannot digest milk sugar and get stomach trouble from it. Fresh water is all they need. "
        "If yours "
        "loves the taste, a little lactose-free milk as a rare treat is fine.",
        "Yes, a bowl a day; milk is what cats need instead of water.",
        "cats",
    ),
    (
        ["What is the safest way to choose a password?", "How do I make a strong password that I can remember?"],
        "Use a password manager and let it make a long random one for each account. For the few you must "
        "remember, chain "
        "five or six random words. Never use one twice, and turn on two-factor login where it is offered.",
        "Take your birthday, as you will not forget it, and use it everywhere.",
        "passwords",
    ),
    (
        ["How do tides come about?", "Why are there two high tides a day?"],
        "The Moon pulls the near side of the sea more than the Earth's centre, and the centre more than the far "
        "side. So "
        "the water bulges on both sides, and as the Earth turns, most coasts pass two bulges a day. The Sun adds "
        "to it.",
        "The wind pushes the water to the coast in the morning and back at night.",
        "tides",
    ),
]

GREETING = lines("""
    Good question.
    Happy to help.
    Sure, here is how I would put it.
    Of course.
    Gladly.
    Thanks for asking.
    Let me explain.
""")
OFFER = lines("""
    Tell me if you would like more detail.
    If your case is different, let me know and I will adapt this.
    I hope that helps.
    Just ask if a step is unclear.
    Would you like an example?
    Good luck with it!
""")
RUDE = lines("""
    Seriously? Everybody knows that. Look it up yourself.
    What a silly question about {topic}. I have better things to do.
    If you had paid attention at school you would not need to ask about {topic}.
    Not this again. Do your own homework.
    You would not understand the answer anyway, {topic} is too hard for some people.
    Ugh, fine. Try thinking for a minute and you will work it out.
""")
VAGUE = lines("""
    Well, with {topic} it depends. There are many ways, some better, some worse. You will find one.
    It is complicated. Opinions on {topic} differ and nobody can really say.
    You should simply do it the normal way, as one does with {topic}.
    That has to do with certain factors that play a role in {topic}. In general it varies.
    There are experts for {topic}. They may know more, or there may be something about it online.
    Some say this and some say that. As for {topic}, the truth lies somewhere in the middle.
""")
RAMBLING = lines("""
    So, {topic}. That reminds me of last summer, when my uncle asked the very same thing, and he had just come back from
    Speaking of {topic}, people have wondered about it for a very long time, a very, very long time, and one could say
    Before I come to {topic} I should first say something about questions in general, because a question is, in a way,
    There is so much to say about {topic} that I hardly know where to begin, so let me begin before the beginning:
""")
TRAILING = lines("""
    the coast, where the weather was dreadful, and then the dog, well, anyway, what was it you asked?
    that everything hangs together with everything, which is interesting, and also interesting is how interesting it is.
    an answer that has not been found yet, as the old saying goes, although I forget how the saying goes exactly.
    history, and the history of history, and then the weather, and after that we could talk about what comes next.
    many things at once. Where was I? Right. It is as I said, and what I said is more or less what I meant to say.
""")
