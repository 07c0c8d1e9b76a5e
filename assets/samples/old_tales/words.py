"""What the tales are told with. {a} and {b} are two animals or people, {thing} what they want, {place} where."""

from assets.samples.shared.grammar import lines

HEROES = lines("""
    a fox
    a heron
    a hedgehog
    a goat
    a raven
    a badger
    a mule
    a hare
    a tortoise
    a wren
    a miller
    a shepherd
    a ferryman
    a weaver
    a tinker
    a young bear
    a grey cat
    a magpie
    a toad
    a swan
    a beekeeper
    a charcoal burner
""")
THINGS = lines("""
    honeycomb
    copper kettle
    sack of barley
    wheel of cheese
    silver bell
    basket of plums
    lantern
    woollen cloak
    jug of cream
    fiddle
    loaf of rye bread
    string of dried fish
    golden pear
    pot of soup
    painted egg
    bundle of firewood
""")
PLACES = lines("""
    at the edge of a beech wood
    beside a river that ran both quick and cold
    on a hill with three crooked pines
    in a village of nine chimneys
    under the arch of an old bridge
    where the marsh meets the meadow
    in a valley that saw the sun at noon only
    behind the last mill before the sea
    on an island no longer than a ship
    near a well that had never run dry
    at the foot of a mountain that muttered at night
    in an orchard without a wall
""")
TIMES = lines("""
    Long ago, when winters were longer
    In the year of the great frost
    Before the roads had names
    One autumn, when the geese were late
    In a dry summer that old people still speak of
    On the morning after a storm
    When your grandmother's grandmother was small
    Once, in the week between two moons
    In the days when a penny was round and heavy
    At harvest time
    In a spring as green as a frog
    Many years before the first clock
""")
OPENING = lines("""
    {time}, there lived {place} {a} who owned nothing but a {thing}.
    {time}, {a} came upon a {thing} {place}.
    {place_}, {time_}, {a} kept a {thing} and was proud of it.
    They say that {time_}, {a} and {b} lived {place} and had but one {thing} between them.
    {time}, {a} set out to find a {thing} and found one {place}.
    There was once {a}, {place}, and the {thing} in that house was praised far and wide.
""")
PLOTS = [
    [
        "Now {b} heard of it and came by as if by chance. 'What a fine {thing},' said {b_}. 'A pity that thieves "
        "are about.'",
        "'Thieves!' cried {a_}, and could not sleep for three nights, and guarded the {thing} by the light of "
        "the moon.",
        "On the fourth night {a_} fell asleep standing up, and {b_} walked off with the {thing} as calmly as "
        "with a hat.",
        "In the morning there was only a note of thanks, scratched on bark.",
        "Fear of loss opened the door that the thief could not.",
    ],
    [
        "{b} asked to borrow it for one day, and {a_} said neither yes nor no, but: 'Tomorrow.'",
        "So {b_} came on the morrow, and the day after, and every day until the first snow.",
        "Then the {thing} was frozen fast to the ground, and it was of no use to anybody.",
        "'Had you given it to me,' said {b_}, 'I would have brought it home warm.'",
        "Since that time people say: what is kept too well is kept from oneself.",
    ],
    [
        "Along came {b}, hungry and polite. 'Let us have a wager,' said {b_}. 'Who tells the greater lie shall "
        "have the {thing}.'",
        "'I have never told a lie in my life,' said {a_} with dignity.",
        "{b_} bowed low. 'Then the {thing} is yours,' came the reply, 'for I could not lie as well as that.'",
        "And {a_} carried home what had been owned before, feeling richer and looking foolish.",
        "He who boasts of honesty is asked to prove it twice.",
    ],
    [
        "But the river rose that night, and {b} sat on a stone in the middle of the flood and called for help.",
        "{a_} looked at the {thing}, and looked at the water, and threw the {thing} in so that {b_} might hold "
        "on to it.",
        "They reached the bank, both of them wet, and the {thing} went on to the sea alone.",
        "'I owe you a {thing},' said {b_}. 'You owe me an evening's talk,' said {a_}, 'for now we must make one "
        "together.'",
        "What is given away in need comes back with company.",
    ],
    [
        "For seven days {a_} worked, and on each of them {b} sat in the shade and gave advice.",
        "'Higher,' said {b_}, and 'lower', and 'in my day it was done from the left'.",
        "On the eighth day {a_} laid the work down and said: 'Show me.' And {b_} remembered an errand beyond the "
        "hills.",
        "The {thing} was finished before evening, since nobody was there to help.",
        "Advice is light to carry; see who carries the load.",
    ],
    [
        "There was {b}, too, who could not see a thing without wanting half of it.",
        "So they cut the {thing} in two, which does a {thing} no good, and each went home with a piece.",
        "At night both of them lay awake: {a_} thought the other half the larger, and so did {b_}.",
        "They met at dawn on the same path, each bringing a half to exchange it, and then they laughed until the "
        "birds rose.",
        "Envy sees well at a distance and badly near by.",
    ],
    [
        "A traveller wished to buy the {thing} and offered gold for it. 'Ask {b},' said {a_}, 'who is wiser than "
        "I am.'",
        "{b_} bit the gold, and weighed it, and held it against the light, and said at last: 'Can it do what the "
        "{thing} does?'",
        "'No,' said the traveller, 'but you could buy a hundred.' 'And who has a hundred to sell?' asked {b_}.",
        "The traveller went away with the gold, which had become heavier with every mile.",
        "A price is only an answer where somebody has a question.",
    ],
    [
        "Every evening {a_} told the story of the {thing}, and every evening the story was longer.",
        "At first there had been a dog at the gate, then two wolves, and by midsummer a dragon.",
        "One night {b} rose from the back and said: 'I was that dog.' And it grew very quiet {place}.",
        "From then on {a_} told it with the dog in it, and people liked it better, because now they could believe it.",
        "A true tale needs no dragon.",
    ],
    [
        "'Teach me how you came by it,' begged {b}. 'It is a matter of patience,' said {a_}, 'sit down and wait.'",
        "{b_} sat down. The moss grew, a thrush built its nest close by, and the leaves fell twice.",
        "When {a_} passed again, {b_} had learnt the names of all the birds and did not want the {thing} any more.",
        "'You have taught me well,' said {b_}, 'though not what I asked.'",
        "Whoever waits long enough is given something else.",
    ],
    [
        "One day the {thing} was gone. {a_} blamed {b}, and {b_} blamed the wind, and the whole neighbourhood "
        "took sides.",
        "They stopped greeting each other. They stopped lending salt. A fence was built where there had been a path.",
        "In spring the {thing} was found beneath the snow, right where it had been put down.",
        "It took a day to find it, a week to say sorry, and a year to take down the fence.",
        "Count your steps before you count your thieves.",
    ],
]
MUSING = lines("""
    The crickets heard it all and told nobody.
    It rained a little, as it does in stories.
    An owl remarked on it, but who listens to owls?
    The old people nodded, as if they had known.
    The smoke stood straight above the roofs that day.
    Somewhere a gate was banging.
    Not even the miller's dog barked.
    The moon, who sees a great deal, looked the other way.
    There was a smell of apples in the air.
    The river went on talking to itself.
    A child laughed and was told to hush.
    The bells rang noon, although it was evening.
""")
CLOSING = lines("""
    So it was told to me.
    And if the {thing} has not rusted or rotted, it is there yet.
    That is all, and the fire is low.
    Whoever does not believe it may go and ask {a_}.
    The rest is known to the reeds.
    And here the tale turns round and goes home.
    My tale is done; there runs a mouse.
    I was there myself, but I had my mouth full.
""")
