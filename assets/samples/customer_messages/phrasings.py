"""How customers say things: the sentences and words make.py puts together.

Slots: {n} a counted product ("2 desk lamps"), {p} a product with its article or count ("my desk
lamp", "the 2 desk lamps"), {id} an order id; {is}, {was}, {has}, {does}, {it}, {they} agree with the
product's number. A product without a slot for it stays unsaid, and so null in the record.
"""

PRODUCTS: dict[str, tuple[str, str]] = {  # name -> (plural, a misspelling people make)
    "alarm clock": ("alarm clocks", "alarm clok"),
    "backpack": ("backpacks", "backpak"),
    "baking tray": ("baking trays", "baking tary"),
    "bath towel": ("bath towels", "bath towl"),
    "bike helmet": ("bike helmets", "bike helmt"),
    "blanket": ("blankets", "blankit"),
    "blender": ("blenders", "blendr"),
    "bluetooth speaker": ("bluetooth speakers", "blutooth speaker"),
    "candle": ("candles", "candel"),
    "coffee mug": ("coffee mugs", "cofee mug"),
    "cutting board": ("cutting boards", "cuting board"),
    "desk lamp": ("desk lamps", "desk lmap"),
    "frying pan": ("frying pans", "fryng pan"),
    "garden hose": ("garden hoses", "gardn hose"),
    "kettle": ("kettles", "kettel"),
    "keyboard": ("keyboards", "keybord"),
    "lunch box": ("lunch boxes", "luch box"),
    "notebook": ("notebooks", "notebok"),
    "phone case": ("phone cases", "phone cse"),
    "picture frame": ("picture frames", "pictur frame"),
    "plant pot": ("plant pots", "plnt pot"),
    "power bank": ("power banks", "powerbank"),
    "rain jacket": ("rain jackets", "rain jaket"),
    "toaster": ("toasters", "toster"),
    "umbrella": ("umbrellas", "umbrela"),
    "water bottle": ("water bottles", "water botle"),
    "yoga mat": ("yoga mats", "yogamat"),
}

NUMBERS = {
    2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten", 12: "twelve",
}  # fmt: skip

# intent -> (phrasings of both files, phrasings of the held-out file only)
PHRASINGS: dict[str, tuple[list[str], list[str]]] = {
    "order": (
        [
            "I'd like to order {n}, please",
            "Can I get {n} sent to my home address?",
            "I want to buy {n}",
            "Please put me down for {n}",
            "Could you send me {n}",
            "I need {n} for the new flat",
            "We would like to order {n} for our office",
            "Please add {n} to my order {id}",
            "Can you add {n} to order {id} before it ships?",
            "I will take {n}, just charge the usual card",
            "Looking to buy {n}, same colour as on your front page",
            "Want to place an order for {n}",
            "Can you ship {n} to my work address",
            "I'd love to get {n} from your shop",
            "New order from me: {n}",
            "Do me a favour and order {n} for me",
        ],
        [
            "Sign me up for {n}",
            "Time to stock up, so {n} it is, ship it to the usual place",
            "My shopping list for today says {n}, please send it over",
            "Add {n} on top of order {id} if the parcel is still open",
        ],
    ),
    "return": (
        [
            "I want to return {p} from order {id}",
            "I'd like to send back {p}, the colour is not for me",
            "Please arrange the return of {p}, order {id}",
            "Please send a return label for {p}, order {id}",
            "I changed my mind about {p} and want to return {it}",
            "{p} {does} not suit my home, I want to send {it} back",
            "Need to return {p}, ordered the wrong size",
            "I want to give back {p}, still in the original box, order {id}",
            "I would like to return everything in order {id}",
            "Sending back {p} today, please tell me which address to use",
            "Please take back {p}, I got the same as a present",
            "Returning {p} as {they} {is} larger than I thought, order {id}",
            "I want to return my parcel {id} unopened, please send the label",
            "Requesting a return for {p}, bought last week, never used",
            "Could you pick up {p} from order {id}? I want to return {it}",
        ],
        [
            "{p} must go back to you, wrong shade of green, order {id}",
            "Could a courier fetch {p}? I am not keeping {it}",
            "I am going to post {p} back to your warehouse, order {id}, ok?",
            "Not keeping what came with {id}, where do I mail the box",
        ],
    ),
    "cancel": (
        [
            "Please cancel my order {id}",
            "I want to cancel {p} from order {id}",
            "Cancel order {id}, I found it cheaper somewhere else",
            "Can you cancel the order for {p}? It has not shipped yet",
            "I no longer need {p}, please cancel",
            "Stop order {id} before it ships, I ordered by mistake",
            "Please cancel {p}, I clicked the wrong button",
            "Need to cancel {id}, we are moving house",
            "Could you take {p} off order {id}? I don't need {it} any more",
            "I ordered {p} yesterday but want to cancel now",
            "My order {id} should be cancelled, please confirm",
            "Cancel {p} please, my plans have changed",
            "Hold on, don't ship {p}, I want to cancel",
            "Please call off order {id}, I don't need it any more",
            "I'd like my order for {p} cancelled, it's {id}",
        ],
        [
            "Scrap order {id}, I don't want it any more",
            "Forget about {p}, please don't send {it}",
            "Please remove {p} from {id} before you pack it",
            "Order {id} was a mistake by my kids, undo it please",
        ],
    ),
    "complaint": (
        [
            "{p} arrived broken, order {id}, I am really disappointed",
            "{p} from order {id} {was} damaged after a week",
            "I am not happy at all, {p} came with scratches all over",
            "Really poor quality, {p} fell apart on the first day",
            "Order {id} still has not arrived and nobody answers my mails",
            "The box of order {id} was crushed and everything inside is damaged",
            "{p} {is} nothing like the pictures, very poor",
            "This is unacceptable, {p} in order {id} {was} dirty and clearly used",
            "Your driver threw my parcel {id} over the fence",
            "{p} {has} a crack and {they} {does} not look new",
            "Very annoyed, {p} came in the wrong colour, order {id}",
            "{p} I got from you {was} broken when I opened the box",
            "Terrible service, order {id} is late again and no news from you",
            "Worst purchase ever, {p} {was} worn out in no time",
            "Shame on you, {p} {is} completely useless, order {id}",
        ],
        [
            "{p} died on me after a day, what a waste, order {id}",
            "I expected better: {p} turned up bent and smelly",
            "Half of the stuff in {id} is missing and I am fed up",
            "So frustrating, {p} {was} ruined the moment I unpacked {it}",
        ],
    ),
    "question": (
        [
            "Is {p} on your site available in dark blue?",
            "What is {p} made of? I could not find it on your page",
            "Do you have {n} in stock at the moment?",
            "When will my order {id} be delivered?",
            "Can you tell me how long the warranty on {p} is",
            "How much does shipping cost for {n} to Ireland?",
            "Which delivery company is bringing order {id}?",
            "How big {is} {p} exactly? I have little space",
            "How do I clean {p} without damaging {it}?",
            "Is there a discount if somebody buys {n}?",
            "Has order {id} left your warehouse yet?",
            "Where can I find the manual for {p}",
            "Can I still change the delivery address for order {id}?",
            "Just wondering how heavy {p} {is}",
            "Which colours are there for {p} these days?",
        ],
        [
            "Any idea on which day {id} will reach me?",
            "Would {n} fit into a normal parcel box?",
            "Curious whether {p} {is} safe for small kids",
            "Who do I ask about spare parts for {p}?",
        ],
    ),
}

GREETINGS = [
    "hi", "hello", "hey", "hi there", "hello there", "good morning", "hey guys", "dear team", "good evening", "hiya",
]  # fmt: skip
FILLERS = [
    "thanks", "thank you", "cheers", "thanks a lot", "thanks in advance", "hope you can help", "let me know",
    "hope you are well", "it's a gift for my sister", "I love your shop by the way", "please write back",
    "sorry to bother you", "I tried calling but nobody picked up", "I looked on the website already",
    "first time writing here", "have a nice day",
]  # fmt: skip
URGENT = [
    "this is urgent", "asap please", "I need an answer asap", "it's really urgent", "please hurry",
    "as soon as possible", "please handle this immediately", "urgent!!", "needs to happen right away",
    "please be quick, it's urgent",
]  # fmt: skip
CALM = ["no rush", "take your time", "no hurry", "whenever you have time", "it can wait"]  # said, and not urgent
EMOJI = {
    "order": "😊🙂🎉👍", "return": "📦🙂🙏😅", "cancel": "🙏😅🙂😬", "complaint": "😡😠😤😞", "question": "🤔🙂🙏😊",
}  # fmt: skip
SHORT = {
    "please": ["pls", "plz"], "you": ["u"], "your": ["ur"], "thanks": ["thx", "thnx"], "i'd": ["id"], "don't": ["dont"],
    "it's": ["its"], "are": ["r"], "order": ["ordr"], "because": ["cuz"], "about": ["abt"], "really": ["rly"],
    "with": ["w/"], "would": ["wud"], "could": ["cud"],
}  # fmt: skip
