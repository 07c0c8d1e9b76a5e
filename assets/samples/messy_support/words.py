"""What people ask a shop for network devices, and what it answers. {device} and {n} are filled in."""

DEVICES = ["router", "mesh kit", "powerline adapter", "door camera", "smart plug", "network drive", "access point"]
GOOD: list[tuple[str, str]] = [
    (
        "My {device} shows a red light since the last storm. What does that mean?",
        "A steady red light means that it has no connection. Unplug it for {n} seconds, check the cable to the "
        "wall and "
        "plug it in again; if the light stays red, send us the number on its underside.",
    ),
    (
        "How do I update the software of the {device}?",
        "Open its page in a browser, go to 'System', then 'Update', and press 'Look for updates'. It takes about {n} "
        "minutes; leave the {device} plugged in meanwhile.",
    ),
    (
        "I forgot the password of my {device}, can you tell me what it is?",
        "We do not know it and cannot read it. Hold the small button on the back for {n} seconds to reset it, "
        "then set a "
        "new password on first use.",
    ),
    (
        "Does the {device} work abroad, say in Norway or Portugal?",
        "Yes. It takes 100 to 240 volts, so at most you need another plug. The warranty of {n} months applies "
        "everywhere "
        "in Europe.",
    ),
    (
        "The box of my {device} was open when it came. Should I be worried?",
        "Please check that the seal over the socket is intact. If it is not, do not use it: we replace it free "
        "of charge "
        "within {n} days.",
    ),
    (
        "Can I get an invoice in my company's name for the {device}?",
        "Of course. Reply with the name and tax number of your company within {n} days and we send a corrected invoice "
        "as a PDF.",
    ),
    (
        "How far does the {device} reach through two concrete walls?",
        "Expect some {n} metres through concrete, less if there is steel in it. A second one half-way usually solves "
        "that.",
    ),
    (
        "Why is the {device} so warm after a day of use?",
        "Up to {n} degrees at the surface is normal. Keep it upright, away from sunlight, and leave the width of "
        "a hand "
        "free on every side.",
    ),
    (
        "I want to send back the {device}. How long do I have?",
        "You have {n} days from delivery. Print the label from your account, put everything into the box, and hand it "
        "in at any parcel shop.",
    ),
    (
        "How many gadgets can be connected to one {device} at once?",
        "It is made for up to {n} at a time. With more it still works, but each gets less, and video calls may "
        "stutter.",
    ),
    (
        "Is there a way to switch off the lamps of the {device} at night?",
        "Yes: under 'Display' choose 'Night mode' and set the hours. Errors are still shown after {n} minutes.",
    ),
    (
        "When will the white {device} be in stock again?",
        "We expect the next delivery in {n} days. Leave your address on the product page and we will send one message, "
        "no more.",
    ),
]
PERSONAL = [
    (
        "Please change my delivery address, I am {name}, {mail}.",
        "Done, {name}. The confirmation goes to {mail}; the parcel leaves tomorrow.",
    ),
    (
        "Call me back about my broken {device}: {phone}, ask for {name}.",
        "Thank you, {name}. A colleague calls {phone} this afternoon between two and four.",
    ),
    (
        "I never got an answer to the mail I sent from {mail}. My order was a {device}.",
        "I am sorry. I found it among the unread ones and have just answered to {mail}; you can also ring +1 {phone}.",
    ),
    (
        "{name} here. Which number do you have on file for me? Mine is {phone} now.",
        "Hello {name}, I have replaced the old number by {phone} and removed the old one.",
    ),
]
NAMES = ["Nora Sample", "Piet Muster", "Asha Placeholder", "Tom Fiction", "Ewa Specimen", "Luis Madeup"]
OTHER_LANGUAGES = [
    (
        "Wie kann ich meine Bestellung stornieren? Ich habe mich leider im Gerät geirrt.",
        "Öffnen Sie in Ihrem Konto die Bestellung und wählen Sie dort 'Stornieren'. Das geht, solange sie nicht "
        "verschickt "
        "ist.",
    ),
    (
        "Das Kabel ist zu kurz. Gibt es auch eines mit drei Metern Länge?",
        "Ja, unter 'Zubehör' finden Sie ein Kabel mit drei und eines mit fünf Metern.",
    ),
    (
        "Bonjour, mon appareil ne s'allume plus depuis hier soir. Que dois-je faire ?",
        "Débranchez-le pendant une minute, puis essayez une autre prise. S'il reste éteint, nous le remplaçons.",
    ),
    (
        "Est-ce que la livraison est gratuite pour la Belgique ?",
        "Oui, à partir de cinquante euros la livraison est gratuite en Belgique et au Luxembourg.",
    ),
    (
        "¿Cuánto tarda el envío a las Islas Canarias y cuánto cuesta?",
        "El envío tarda unos ocho días laborables y cuesta doce euros, impuestos incluidos.",
    ),
    (
        "Il manuale è disponibile anche in italiano? Non l'ho trovato nella scatola.",
        "Sì, può scaricarlo dalla pagina del prodotto, alla voce 'Documenti'.",
    ),
]
SHORT = [("Hi", "Hello."), ("?", "Yes."), ("ok thanks", "Ok."), ("Price", "49")]
RAMBLE = (
    "Let me tell the whole story of device number {n}. First it worked, then it did not, then it did again when my "
    "brother-in-law looked at it, which annoyed me more than the fault. "
)
