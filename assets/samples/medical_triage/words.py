"""What people write to a doctor's office. Invented; no medical advice."""

from assets.samples.shared.grammar import lines

COMPLAINTS = {
    "routine": lines("""
        I would like to book my yearly check-up.
        Please send me a repeat prescription for my blood pressure tablets.
        I need a certificate for the sports club.
        My hay fever is back, as every spring, and I would like something for it.
        I would like the results of my last blood test explained.
        My heel hurts a little in the morning and is fine after a few steps.
        I want to ask about the flu vaccination.
        A small wart on my finger bothers me when I write.
        I sleep badly since we moved and would like to talk about it.
        I need a new referral to physiotherapy for my shoulder.
        My skin is dry and itches a little after showering.
        I would like to change the time at which I take my tablets.
        I travel to the tropics in {number} months and ask which vaccinations I need.
        My knee creaks when I climb stairs; it does not hurt.
        I would like to have a mole looked at that has been the same for years.
        Could you fill in the form for my insurance?
    """),
    "soon": lines("""
        I have had a fever of 39 for {number} days and it does not go down.
        It burns when I pass water, and my back has begun to ache.
        My ear hurts so much that I did not sleep, and my hearing is dull.
        The wound on my leg has become red, warm and swollen.
        My sugar has been above 15 for {number} days although I take my tablets.
        I cough up yellow phlegm, and every breath hurts on one side.
        I have thrown up since {since} and keep hardly any water down.
        My ankle is swollen after a fall and I can hardly put weight on it.
        A rash is spreading over my whole body and itches badly.
        I have lost six kilos without trying and am tired all the time.
        My calf has been swollen and painful since {since}.
        I feel my heart stumble many times a day, and that frightens me.
    """),
    "emergency": lines("""
        I have a crushing pain in my chest that goes into my left arm.
        My husband's face hangs down on one side and he cannot speak clearly.
        I cannot get enough air and my lips are blue.
        She fell down, jerks all over and does not answer.
        After the wasp sting my throat is swelling and I can hardly swallow.
        I have the worst headache of my life, it came like a blow.
        He has taken a whole box of sleeping tablets and I cannot wake him.
        The cut on my arm is deep and the blood will not stop.
        I vomit blood and everything turns black when I stand up.
        My stomach is hard as a board and the pain is unbearable.
    """),
}
SINCE = lines("""
    yesterday evening
    this morning
    Monday
    the weekend
    last night
    spring
""")
OPENING = lines("""
    Good morning, this is about my mother, she is {age}.
    Hello, I am {age} and a patient of yours.
    Hi there, I hope this reaches the right person.
    Dear team, I am writing for my neighbour, {age} years old.
    To the doctor on duty:
    I am {age}, otherwise healthy.
    Sorry to write here, nobody answers the telephone.
    I was with you last year because of my back.
    My name is on your list, I am {age}.
""")
ASIDE = lines("""
    I take tablets for my blood pressure.
    I do not smoke and hardly drink.
    There are no allergies that I know of.
    My insurance card is the same as last time.
    I have two small children at home.
    I already tried the usual home remedies.
    My brother had something like that too.
    I work shifts.
    I am not good at describing such things.
    We have just come back from the mountains.
""")
CLOSING = lines("""
    What should I do?
    Please call me back.
    Thank you for your help.
    When can I come by?
    I live {number} streets away.
    Many thanks in advance.
    Let me know what you think.
""")
